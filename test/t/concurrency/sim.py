#!/usr/bin/python3
# Channels that time out, repeat, contradict themselves and charge twice; customers, webhooks,
# workers and operators at once. At the end the channels' books and payguard's agree to the
# cent. PAYGUARD_SEED and PAYGUARD_ORDERS set the run; the long one is make torture-sim.

import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import cluster
import simulate
from tap import Tap, choose_seed


# what a run of this size always comes to
MET = {("payment", "processing"), ("payment", "returned"), ("refund", "reinstated"), ("refund", "merged"),
       ("payment", "authorized"), ("payment", "capturing"), ("alert", "authorized_less"), ("alert", "capture_failed"),
       ("alert", "overpaid"), ("alert", "bank_return"), ("alert", "chargeback"), ("alert", "late_success")}


def main():
    seed = choose_seed()
    orders = int(os.environ.get("PAYGUARD_ORDERS") or 2500)
    with cluster.Cluster() as server:
        simulation = simulate.Simulation(server.dsn, seed, orders, faults=0.3, clients=8)
        simulation.run()
        simulation.try_actions()
        for line in simulation.summary():
            print(f"# {line}")
        reached = {(row["what"], row["status"]) for row in simulation.database.rows(
            "SELECT 'payment' AS what, to_status AS status FROM payguard.events WHERE kind ~ '^payment'"
            " UNION SELECT 'refund', to_status FROM payguard.events WHERE kind ~ '^refund'"
            " UNION SELECT 'alert', kind FROM payguard.alerts")}
    faults = sum(sum(book["faults"].values()) for book in simulation.books.values())
    checks = dict(simulation.deviations)
    checks["the channels have failed often enough"] = [] if faults > orders / 4 else [faults]
    checks["orders were charged twice"] = [] if simulation.comparison.double_charges() else [0]
    checks["what the channels do with money was all met"] = sorted(MET - reached)
    tap = Tap()
    tap.each((name, not problems, problems) for name, problems in checks.items())
    sys.exit(tap.done())


main()
