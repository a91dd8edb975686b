import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Scanner;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.transaction.support.TransactionTemplate;

/** The handlers for Spring as a program; test/clients/handlers.py says what it is asked. */
public class HandlersApp {
    static class HttpChannel implements SpringPayments.Channel {
        private final HttpClient http = HttpClient.newHttpClient();

        private Answer ask(String path) {
            try {
                String[] words = http.send(HttpRequest.newBuilder(URI.create(System.getenv("SHOP_CHANNEL") + path)).timeout(Duration.ofSeconds(6)).build(),
                    HttpResponse.BodyHandlers.ofString()).body().split(" ");
                return words[0].equals("succeeded") ? new Answer(words[0], words[1], Long.valueOf(words[2]), words[3]) : new Answer(words[0], null, null, null);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public Answer charge(UUID number, long amount, String currency) {
            return ask("/charge/" + number + "/" + amount + "/" + currency);
        }

        @Override
        public Answer query(UUID number) {
            return ask("/query/" + number);
        }
    }

    public static void main(String[] arguments) {
        DriverManagerDataSource database = new DriverManagerDataSource(
            "jdbc:postgresql://127.0.0.1:" + System.getenv("SHOP_PORT") + "/handlers", "web", "");
        TransactionTemplate transaction = new TransactionTemplate(new DataSourceTransactionManager(database));
        SpringPayments payments = new SpringPayments(new JdbcTemplate(database), new HttpChannel());
        byte[] secret = System.getenv("SHOP_SECRET").getBytes();
        ExecutorService threads = Executors.newCachedThreadPool();
        for (Scanner in = new Scanner(System.in); in.hasNextLine();) {
            String[] words = in.nextLine().split(" ", -1);
            threads.submit(() -> {
                SpringPayments.Reply reply;
                try {
                    reply = switch (words[1]) {
                        case "checkout" -> payments.checkout(words[2], words[3]);
                        case "inside" -> transaction.execute(status -> payments.checkout(words[2], words[3]));
                        default -> payments.webhook(secret, HexFormat.of().parseHex(words[3]), words[2]);
                    };
                } catch (Exception error) {
                    reply = new SpringPayments.Reply(500, String.valueOf(error.getMessage()).replaceAll("\\s+", " "));
                }
                System.out.println(words[0] + " " + reply.status() + " " + reply.state());
            });
        }
        threads.shutdown();
    }
}
