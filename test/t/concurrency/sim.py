#!/usr/bin/python3
# Channels that time out, repeat, contradict themselves and charge twice; customers, webhooks,
# workers and operators at once. At the end the channels' books and payguard's agree to the
# cent. PAYGUARD_SEED and PAYGUARD_ORDERS set the run; the long one is make torture-sim.

import os
import random
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import cluster
import simulate


def main():
    seed = int(os.environ.get("PAYGUARD_SEED") or random.randrange(1_000_000))
    orders = int(os.environ.get("PAYGUARD_ORDERS") or 2500)
    print(f"# PAYGUARD_SEED={seed}", flush=True)
    with cluster.Cluster() as server:
        simulation = simulate.Simulation(server.dsn, seed, orders, faults=0.3, clients=8)
        sound = simulation.run()
        for line in simulation.summary():
            print(f"# {line}")
    faults = sum(sum(book["faults"].values()) for book in simulation.books.values())
    checks = dict(simulation.deviations)
    checks["the channels have failed often enough"] = [] if faults > orders / 4 else [faults]
    checks["orders were charged twice"] = [] if simulation.comparison.double_charges() else [0]
    for number, (name, problems) in enumerate(checks.items(), 1):
        print(f"{'not ok' if problems else 'ok'} {number} - {name}")
    print(f"1..{len(checks)}", flush=True)
    sys.exit(0 if sound else 1)


main()
