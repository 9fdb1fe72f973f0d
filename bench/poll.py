#!/usr/bin/env python3
"""A peer: what a scheduled SQL query that evaluates four rules over 10,000 containers costs, beside
what alerting spends on the same samples as they come.

Usage: poll.py [runs=7]

1,000,000 metric rows, 10 seconds apart; the four rules and the state are those of schema.sql.
"""
import os
import re
import sys

import result
from pgtemp import Cluster, stat

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
NOW = "timestamptz '2026-01-01 00:16:30'"
JUDGE = """, b as (select r.rule_id, w.container_id, case r.kind when 'CPU_USAGE' then w.cpu > r.threshold when 'MEMORY_USAGE' then w.mem5 > r.threshold
      when 'CONTAINER_DOWN' then w.down1 else w.rdelta >= r.threshold end as breach
    from w join container c using (container_id) join alert_rule r on r.org_id = c.org_id and r.enabled),
  f as (select b.*, s.state from b left join alert_state s using (rule_id, container_id))
  select count(*) filter (where breach and state is null), count(*) filter (where not breach and state is not null), count(*) from f"""
GROUPED = f"""with w as materialized (select container_id, (array_agg(cpu_percent order by at desc))[1] as cpu,
    min(memory_percent) filter (where at > {NOW} - interval '5 min') as mem5,
    bool_and(not running) filter (where at > {NOW} - interval '1 min') as down1, max(restart_count) - min(restart_count) as rdelta
  from container_metric where at > {NOW} - interval '10 min' group by 1)""" + JUDGE
NEWEST = """select count(*) from container c join alert_rule r on r.org_id = c.org_id and r.kind = 'CPU_USAGE'
  cross join lateral (select cpu_percent as cpu from container_metric m where m.container_id = c.container_id order by at desc limit 1) w
  where w.cpu > r.threshold"""
LATERAL = f"""with w as materialized (select c.container_id, l.cpu, m.mem5, d.down1, x.rdelta from container c
    cross join lateral (select cpu_percent as cpu, restart_count as rc from container_metric m where m.container_id = c.container_id order by at desc limit 1) l
    cross join lateral (select min(memory_percent) as mem5 from container_metric m where m.container_id = c.container_id and at > {NOW} - interval '5 min') m
    cross join lateral (select bool_and(not running) as down1 from container_metric m where m.container_id = c.container_id and at > {NOW} - interval '1 min') d
    cross join lateral (select l.rc - restart_count as rdelta from container_metric m where m.container_id = c.container_id and at > {NOW} - interval '10 min' order by at limit 1) x)""" + JUDGE
QUERIES = {"newest sample only, CPU rule only, LATERAL by primary key": NEWEST, "all 4 rules, one GROUP BY over 10 minutes (600,000 rows)": GROUPED,
           "all 4 rules, LATERAL for each container": LATERAL}


def main():
    cluster = Cluster(["work_mem=64MB"])
    try:
        cluster.file(os.path.dirname(os.path.abspath(__file__)) + "/schema.sql")
        cluster.sql("insert into container_metric select 'ctr-' || (100000 + i), '2026-01-01'::timestamptz + make_interval(secs => k * 10),"
                    " case when i % 60 = 0 then 95 else 40 end, case when i % 60 = 20 then 95 else 50 end, i % 60 <> 40, i % 3"
                    " from generate_series(0, 99) k, generate_series(0, 9999) i; create index on container_metric(at); vacuum analyze")
        print("| polling query over 10,000 containers | ms, median | range |\n|---|---|---|")
        best = None
        for name, query in QUERIES.items():
            times = re.findall(r"Time: ([0-9.]+) ms", cluster.sql("\\timing on\n" + (query + ";\n") * (RUNS + 1)))
            least, median, most = stat([float(time) for time in times][1:])
            print(f"| {name} | {median:.0f} | {least:.0f} to {most:.0f} |", flush=True)
            if name.startswith("all"):
                best = min(best or median, median)
        print(f"\nThe evaluator judges the 10,000 samples of such a round in one to two milliseconds; the cheapest polling query takes {best:.0f} ms a pass,"
              "\nwhether anything has changed or not, and sees only what holds at that moment.")
        result.keep(kind="peer", name="polling SQL, 4 rules", milliseconds=best)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
