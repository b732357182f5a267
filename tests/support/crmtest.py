"""The helper library of the integration tests, under one name.

    from crmtest import *

    def test_mail_arrives(t):
        kafka = Kafka.shared(t)
        kafka.create_topics(partitions=6)
        graph = GraphSim(t, "--seed", "1")
        site = Site(t, kafka, graph, [tenant("acme", ["ann@contoso.example"])])
        ...
        records = kafka.read(t.prefix + "records.v1")
        Schemas().validate_all(records, "records.v1")
        state = fold(records)

    if __name__ == "__main__":
        main(test_mail_arrives)

Added to ctest with cs_python_test() of CrmTest.cmake. By hand: PYTHONPATH=tests/support, and
CRMSYNC_BIN for another build than dev. Parts: crmproc (processes, Test, main), crmkafka (brokers and
topics), crmdaemon (configuration, daemons, graphsim), crmschema (validation).
"""

from crmdaemon import Daemon, GraphSim, Site, libconfig, nest, tenant
from crmkafka import (MESSAGE_MAX, TOPICS, Broker, DevBroker, Kafka, Record, check_partitions,
                      end_offsets, fold, free_ports, kafka_bed, murmur2, partition_count,
                      partition_of, quiet, read_topic)
from crmproc import (ROOT, Failure, Proc, Test, bin_dir, check, check_equal, http, main, program,
                     run_test, wait_for, wait_pid_gone)
from crmschema import TOPIC_SCHEMAS, Schemas

__all__ = [
    "MESSAGE_MAX", "ROOT", "TOPICS", "TOPIC_SCHEMAS", "Broker", "Daemon", "DevBroker", "Failure",
    "GraphSim", "Kafka", "Proc", "Record", "Schemas", "Site", "Test", "bin_dir", "check",
    "check_equal", "check_partitions", "end_offsets", "fold", "free_ports", "http", "kafka_bed",
    "libconfig", "main", "murmur2", "nest", "partition_count", "partition_of", "program", "quiet",
    "read_topic", "run_test", "tenant", "wait_for", "wait_pid_gone",
]
