import java.time.Duration;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/** Says, a line each, what MirrorMaker's own client finds: arguments are brokers, alias of the source, group. */
class Translate {
    public static void main(String[] args) throws Exception {
        Map<String, Object> client = Map.of("bootstrap.servers", args[0]);
        RemoteClusterUtils.translateOffsets(client, args[1], args[2], Duration.ofSeconds(30))
            .forEach((place, at) ->
                System.out.printf("offset %s %d %d %s%n", place.topic(), place.partition(), at.offset(), at.metadata()));
        System.out.println("hops " + RemoteClusterUtils.replicationHops(client, args[1]));
        for (String topic : new TreeSet<>(RemoteClusterUtils.heartbeatTopics(client)))
            System.out.println("heartbeats " + topic);
        for (String topic : new TreeSet<>(RemoteClusterUtils.checkpointTopics(client)))
            System.out.println("checkpoints " + topic);
        for (String alias : new TreeSet<>(RemoteClusterUtils.upstreamClusters(client)))
            System.out.println("upstream " + alias);
    }
}
