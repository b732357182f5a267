#!/bin/sh
# Lays the data folder out the first time, then becomes the broker.
set -eu
jvm="-Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData"
export CLASSPATH='/opt/kafka/libs/*'
config=/opt/kafka/server.properties
# shellcheck disable=SC2086 # several words on purpose
if [ ! -e /var/lib/kafka/data/meta.properties ]; then
    java $jvm kafka.tools.StorageTool format -g -t "$(java $jvm kafka.tools.StorageTool random-uuid)" -c "$config"
fi
# shellcheck disable=SC2086
exec java $jvm -Djava.awt.headless=true kafka.Kafka "$config"
