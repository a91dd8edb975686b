"""What the tests of the console share: requests that are made by hand, and the books behind them."""
import html
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request


class Stranger:
    """Requests that are made by hand, as an attacker would."""

    def __init__(self, address):
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.headers, self.where = {}, None

    def ask(self, path, form=None, file=None, headers=None, body=None):
        """(status, page); file: (name, content) of the field file. body: what is sent instead of a form, as it is"""
        headers = dict(headers or {})
        if file:
            headers["Content-Type"] = "multipart/form-data; boundary=edge"
            parts = [f'name="{name}"\r\n\r\n{value}' for name, value in form.items()]
            parts.append(f'name="file"; filename="{file[0]}"\r\nContent-Type: text/csv\r\n\r\n{file[1]}')
            body = ("".join(f"--edge\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--edge--\r\n").encode()
        elif form is not None:
            body = urllib.parse.urlencode(form).encode()
        try:
            with self.opener.open(urllib.request.Request(self.address + path, body, headers)) as answer:
                self.headers, self.where = answer.headers, answer.geturl()
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            self.headers = answer.headers
            return answer.code, answer.read().decode()

    def token(self, path):
        return dict(re.findall(r'name="(csrf_token|seen|upload)" value="([^"]*)"', self.ask(path)[1]))

    def sign_in(self, role, password=None):
        return self.ask("/sign-in", self.token("/sign-in") | {"role": role, "password": role if password is None else password})


class Books:
    """The database, as its superuser sees it."""

    def __init__(self, server):
        self.cursor = server.connect().cursor()

    def rows(self, sql, *values):
        self.cursor.execute(sql, values or None)
        return self.cursor.fetchall() if self.cursor.description else None

    def work(self):
        """The channels do all that they are asked for."""
        self.rows("SELECT payguard.complete_task(task_id, lease_token, CASE kind WHEN 'refund' THEN 'succeeded' ELSE 'closed' END,"
                  " CASE kind WHEN 'refund' THEN 'back-' || task_id END, CASE kind WHEN 'refund' THEN amount END,"
                  " CASE kind WHEN 'refund' THEN currency END) FROM payguard.claim_tasks('worker', 100, kinds => '{refund,close}')")
        self.rows("SELECT count(*) FROM payguard.maintain()")

    def written(self):
        return self.rows("SELECT (SELECT count(*) FROM payguard.events), (SELECT count(*) FROM payguard.settlement_lines),"
                         " (SELECT md5(string_agg(a::text, '' ORDER BY alert_id)) FROM payguard.alerts a)")

    def case(self, order, kind):
        return self.rows("SELECT case_id FROM payguard.cases WHERE order_id = %s AND kind = %s", order, kind)[0][0]


def reachable(address):
    try:
        return Stranger(address).ask("/sign-in")[0] == 200
    except OSError:
        return False


def words_of(page):
    """What a page says."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<head>.*?</head>|<datalist.*?</datalist>", "", page))).split())
