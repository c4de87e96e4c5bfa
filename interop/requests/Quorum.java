import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/**
 * What replicas of the quorum, brokers and operators ask of the controller. A request is written once, as JSON with single quotes, and each case
 * says what is otherwise in it: `what it is: field=value, field=value`.
 */
final class Quorum {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** Commas between changes, not those in their values. */
    private static final Pattern BETWEEN = Pattern.compile(", (?=\\w+=)");
    private static final String ZERO = "'AAAAAAAAAAAAAAAAAAAAAA'";
    private static final String METADATA = "'AAAAAAAAAAAAAAAAAAAAAQ'";
    private static final String ONE = "'EjRWeJCrze8SNFZ4kKvN7w'";
    private static final String TWO = "'FjRWeJCrze8SNFZ4kKvN7w'";
    private static final String THREE = "'GjRWeJCrze8SNFZ4kKvN7w'";
    private final Connection broker;
    private final Connection controller;
    private final String cluster;
    private final String directory;
    private final int epoch;

    Quorum(Connection broker, Connection controller) throws Exception {
        this.broker = broker;
        this.controller = controller;
        cluster = "'" + field("clusterId", send(controller, "DescribeCluster", "{'includeClusterAuthorizedOperations':false,'endpointType':2,'includeFencedBrokers':false}")) + "'";
        ApiMessage quorum = send(controller, "DescribeQuorum", described("__cluster_metadata", 0));
        directory = "'" + field("replicaDirectoryId", quorum) + "'";
        epoch = Integer.parseInt(field("leaderEpoch", quorum));
        Main.name(cluster.replace("'", ""), "CLUSTER");
        Main.name(directory.replace("'", ""), "DIRECTORY");
    }

    void all() throws Exception {
        replicas();
        voters();
        describe();
        members();
    }

    // -- replicas of the quorum

    private void replicas() throws Exception {
        String topics = "'topics':[{'topicName':'__cluster_metadata','partitions':[{'partitionIndex':0,";
        cases(controller, "Vote", "{'clusterId':" + cluster + ",'voterId':1," + topics + "'replicaEpoch':" + epoch + ",'replicaId':2,'replicaDirectoryId':" + ONE
                + ",'voterDirectoryId':" + directory + ",'lastOffsetEpoch':0,'lastOffset':0,'preVote':true}]}]}",
            "before an election:", "of another cluster: clusterId='xx'", "of no cluster: clusterId=null", "to another voter: voterId=5", "to another directory: voterDirectoryId=" + TWO,
            "in an old epoch: replicaEpoch=0", "with a negative end: lastOffset=-1", "with an end in its own epoch: lastOffsetEpoch=" + epoch + ", preVote=false",
            "of a negative candidate: replicaId=-1", "of another partition: partitionIndex=1", "of another topic: topicName='x'", "of no topic: topics=[]");
        cases(controller, "BeginQuorumEpoch", "{'clusterId':" + cluster + ",'voterId':1," + topics + "'voterDirectoryId':" + directory + ",'leaderId':1,'leaderEpoch':" + epoch
                + "}]}],'leaderEndpoints':[{'name':'CONTROLLER','host':'127.0.0.1','port':1}]}",
            "in an old epoch: leaderEpoch=0", "of another cluster: clusterId='y'", "of a negative leader: leaderId=-1", "to another directory: voterDirectoryId=" + TWO, "of another partition: partitionIndex=3");
        cases(controller, "EndQuorumEpoch", "{'clusterId':" + cluster + "," + topics + "'leaderId':2,'leaderEpoch':0,'preferredCandidates':[]}]}],'leaderEndpoints':[]}",
            "in an old epoch:", "of another cluster: clusterId='z'", "of another partition: partitionIndex=2");
        cases(controller, "Fetch", "{'clusterId':" + cluster + ",'replicaState':{'replicaId':2,'replicaEpoch':-1},'maxWaitMs':0,'minBytes':0,'maxBytes':100,'isolationLevel':0,'sessionId':0,"
                + "'sessionEpoch':-1,'topics':[{'topicId':" + METADATA + ",'partitions':[{'partition':0,'currentLeaderEpoch':" + epoch + ",'fetchOffset':100000,'lastFetchedEpoch':" + epoch
                + ",'logStartOffset':0,'partitionMaxBytes':1,'replicaDirectoryId':" + ONE + "}]}],'forgottenTopicsData':[],'rackId':''}",
            "of the metadata beyond its end:", "of the metadata in an old epoch: currentLeaderEpoch=0, lastFetchedEpoch=0", "of the metadata in a new epoch: currentLeaderEpoch=99",
            "of the metadata of another cluster: clusterId='x'", "of the metadata from a negative offset: fetchOffset=-1", "of the metadata in an epoch to come: lastFetchedEpoch=99",
            "of the metadata in a negative epoch: lastFetchedEpoch=-1", "of the metadata by its leader: replicaId=1", "of another partition of the metadata: partition=1",
            "of the metadata with a negative wait: maxWaitMs=-1");
        cases(controller, "FetchSnapshot", "{'replicaId':2,'maxBytes':1000,'clusterId':" + cluster + ",'topics':[{'name':'__cluster_metadata','partitions':[{'partition':0,'currentLeaderEpoch':" + epoch
                + ",'snapshotId':{'endOffset':1,'epoch':1},'position':0,'replicaDirectoryId':" + ONE + "}]}]}",
            "of another cluster: clusterId='x'", "that there is not:");
    }

    private void voters() throws Exception {
        String endpoint = "[{'name':'CONTROLLER','host':'127.0.0.1','port':1}]";
        for (Connection to : new Connection[] {broker, controller}) {
            String way = to == broker ? " by a broker" : "";
            cases(to, "AddRaftVoter", "{'clusterId':" + cluster + ",'timeoutMs':3000,'voterId':9,'voterDirectoryId':" + THREE + ",'listeners':" + endpoint + ",'ackWhenCommitted':true}",
                "of another cluster" + way + ": clusterId='x'", "of a negative one" + way + ": voterId=-1", "without a directory" + way + ": voterDirectoryId=" + ZERO,
                "without an endpoint" + way + ": listeners=[]", "with another endpoint" + way + ": name='X'", "to voters of the settings" + way + ":");
            cases(to, "RemoveRaftVoter", "{'clusterId':" + cluster + ",'voterId':1,'voterDirectoryId':" + ONE + "}",
                "from voters of the settings" + way + ":", "without a directory" + way + ": voterDirectoryId=" + ZERO, "of another cluster" + way + ": clusterId='x'", "of a negative one" + way + ": voterId=-2");
        }
        // What is right of one that leads ends Apache Kafka's process.
        cases(controller, "UpdateRaftVoter", "{'clusterId':" + cluster + ",'currentLeaderEpoch':" + epoch + ",'voterId':5,'voterDirectoryId':" + ONE + ",'listeners':" + endpoint
                + ",'kRaftVersionFeature':{'minSupportedVersion':0,'maxSupportedVersion':1}}",
            "in an old epoch: currentLeaderEpoch=0", "in a new epoch: currentLeaderEpoch=99", "that is none:", "without an endpoint: listeners=[]",
            "with another endpoint: name='Q'", "that supports nothing: minSupportedVersion=2", "of another cluster: clusterId='r'");
    }

    private static String described(String topic, int partition) {
        return "{'topics':[{'topicName':'" + topic + "','partitions':[{'partitionIndex':" + partition + "}]}]}";
    }

    private void describe() throws Exception {
        for (Connection to : new Connection[] {broker, controller}) {
            String way = to == broker ? " by a broker" : "";
            cases(to, "DescribeQuorum", described("__cluster_metadata", 0), "of another topic" + way + ": topicName='x'", "of another partition" + way + ": partitionIndex=1", "of nothing" + way + ": topics=[]");
        }
    }

    // -- brokers and operators

    private void members() throws Exception {
        String feature = "{'name':'metadata.version','minSupportedVersion':7,'maxSupportedVersion':30}";
        for (String name : new String[] {"kraft.version", "group.version", "eligible.leader.replicas.version", "share.version", "streams.version"}) {
            feature += ",{'name':'" + name + "','minSupportedVersion':0,'maxSupportedVersion':1}";
        }
        feature += ",{'name':'transaction.version','minSupportedVersion':0,'maxSupportedVersion':2}";
        String registration = "{'brokerId':7,'clusterId':" + cluster + ",'incarnationId':" + TWO + ",'listeners':[{'name':'PLAINTEXT','host':'127.0.0.1','port':9,'securityProtocol':0}],'features':["
            + feature + "],'rack':null,'isMigratingZkBroker':false,'logDirs':[" + ONE + "],'previousBrokerEpoch':-1}";
        cases(controller, "BrokerRegistration", registration, "of another cluster: clusterId='x'", "without directories: logDirs=[]", "with a directory twice: logDirs=[" + ONE + "," + ONE + "]",
            "with a reserved directory: logDirs=[" + ZERO + "]", "without features: features=[]", "with an old version only: maxSupportedVersion=8", "of a broker with ZooKeeper: isMigratingZkBroker=true",
            "of the id of one that lives: brokerId=1");
        long brokerEpoch = Long.parseLong(field("brokerEpoch", ask(controller, "BrokerRegistration that is new", registration)));
        cases(controller, "BrokerRegistration", registration, "with another's directory: brokerId=6");
        String heartbeat = "{'brokerId':7,'brokerEpoch':" + brokerEpoch + ",'currentMetadataOffset':1000000,'wantFence':false,'wantShutDown':false,'offlineLogDirs':[]}";
        cases(controller, "BrokerHeartbeat", heartbeat, "of nobody: brokerId=55", "of a process before: brokerEpoch=3", "of one that is behind: currentMetadataOffset=1", "that asks to be fenced: wantFence=true",
            "of one that has caught up:");
        ApiMessage created = send(broker, "CreateTopics", "{'topics':[{'name':'u','numPartitions':-1,'replicationFactor':-1,'assignments':[{'partitionIndex':0,'brokerIds':[7,1]},"
            + "{'partitionIndex':1,'brokerIds':[1,7]}],'configs':[]}],'timeoutMs':5000,'validateOnly':false}");
        String id = "'" + field("topicId", created) + "'";
        Main.name(id.replace("'", ""), "ID-OF-U");
        String both = "[{'brokerId':7,'brokerEpoch':-1},{'brokerId':1,'brokerEpoch':-1}]";
        cases(controller, "AlterPartition", "{'brokerId':7,'brokerEpoch':" + brokerEpoch + ",'topics':[{'topicId':" + id + ",'partitions':[{'partitionIndex':0,'leaderEpoch':0,'newIsrWithEpochs':" + both
                + ",'leaderRecoveryState':0,'partitionEpoch':0}]}]}",
            "by a process before: brokerEpoch=2", "by nobody: brokerId=77", "of an unknown topic: topicId=" + THREE, "of an unknown partition: partitionIndex=9", "by one that does not lead: partitionIndex=1",
            "in a leader's epoch to come: leaderEpoch=3", "in an epoch to come: partitionEpoch=3", "to nobody: newIsrWithEpochs=[]", "without the leader: newIsrWithEpochs=[{'brokerId':1,'brokerEpoch':-1}]",
            "with one that is no replica: newIsrWithEpochs=[{'brokerId':7,'brokerEpoch':-1},{'brokerId':5,'brokerEpoch':-1}]",
            "with a process before: newIsrWithEpochs=[{'brokerId':7,'brokerEpoch':-1},{'brokerId':1,'brokerEpoch':99999}]", "of two that recover: leaderRecoveryState=1",
            "to what it is:", "to the leader: newIsrWithEpochs=[{'brokerId':7,'brokerEpoch':-1}]");
        cases(controller, "AssignReplicasToDirs", "{'brokerId':7,'brokerEpoch':" + brokerEpoch + ",'directories':[{'id':" + ONE + ",'topics':[{'topicId':" + id + ",'partitions':[{'partitionIndex':0}]}]}]}",
            "that there are:", "by a process before: brokerEpoch=3", "of an unknown topic: topicId=" + THREE, "of an unknown partition: partitionIndex=33", "to a directory that is none: id=" + TWO,
            "by nobody: brokerId=99");
        cases(controller, "AllocateProducerIds", "{'brokerId':7,'brokerEpoch':" + brokerEpoch + "}", "for a broker:", "for a process before: brokerEpoch=1", "for nobody: brokerId=70");
        cases(broker, "AlterPartitionReassignments", "{'timeoutMs':5000,'allowReplicationFactorChange':true,'topics':[{'name':'u','partitions':[{'partitionIndex':0,'replicas':[7,1]}]}]}",
            "of an unknown topic: name='zz'", "of an unknown partition: partitionIndex=8", "to nobody: replicas=[]", "to one twice: replicas=[1,1]", "to an unknown broker: replicas=[1,99]",
            "that there is not: replicas=null", "to fewer: replicas=[1], allowReplicationFactorChange=false", "to where it is:");
        cases(broker, "ListPartitionReassignments", "{'timeoutMs':5000,'topics':null}", "where there are none:", "of an unknown topic: topics=[{'name':'zz','partitionIndexes':[0]}]");
        String elections = "{'electionType':0,'topicPartitions':[{'topic':'u','partitions':[0]}],'timeoutMs':5000}";
        cases(broker, "ElectLeaders", elections, "that are not needed:", "of an unknown kind: electionType=9", "of an unknown topic: topic='q'", "of an unknown partition: partitions=[77]", "that would lose: electionType=1");
        cases(controller, "BrokerHeartbeat", heartbeat, "that asks to stop: wantShutDown=true", "of one that has stopped: wantFence=true, wantShutDown=true");
        cases(broker, "ElectLeaders", elections, "without the preferred one:", "of any where there is one: electionType=1");
        cases(broker, "UpdateFeatures", "{'timeoutMs':5000,'featureUpdates':[{'feature':'metadata.version','maxVersionLevel':30,'upgradeType':1}],'validateOnly':true}",
            "to what it is:", "to an unknown version: maxVersionLevel=31", "to less by an upgrade: maxVersionLevel=29", "to much less: maxVersionLevel=20, upgradeType=2",
            "of an unknown feature: feature='foo', maxVersionLevel=1", "to a negative level: feature='group.version', maxVersionLevel=-1, upgradeType=2",
            "of the quorum to less: feature='kraft.version', maxVersionLevel=0, upgradeType=2", "of nothing: featureUpdates=[]");
        cases(broker, "UnregisterBroker", "{'brokerId':99}", "that is none:", "that there is: brokerId=7", "that is no more: brokerId=7");
    }

    // -- how they are asked

    private static void cases(Connection to, String api, String request, String... cases) throws Exception {
        for (String text : cases) {
            int colon = text.indexOf(':');
            ObjectNode changed = (ObjectNode) read(request);
            String changes = text.substring(colon + 1).trim();
            for (String change : changes.isEmpty() ? new String[0] : BETWEEN.split(changes)) {
                String[] pair = change.split("=", 2);
                changed.findParent(pair[0]).set(pair[0], read(pair[1]));
            }
            ask(to, api + " " + text.substring(0, colon), changed.toString());
        }
    }

    private static ApiMessage ask(Connection to, String name, String request) throws Exception {
        String api = name.substring(0, name.indexOf(' '));
        ApiMessage answer = send(to, api, request);
        Main.print(name, key(api).latestVersion(), answer);
        return answer;
    }

    private static ApiMessage send(Connection to, String api, String request) throws Exception {
        short version = key(api).latestVersion();
        Class<?> converter = Class.forName("org.apache.kafka.common.message." + api + "RequestDataJsonConverter");
        return to.ask((ApiMessage) converter.getMethod("read", JsonNode.class, short.class).invoke(null, read(request), version), version);
    }

    private static ApiKeys key(String api) throws Exception {
        Class<?> data = Class.forName("org.apache.kafka.common.message." + api + "RequestData");
        return ApiKeys.forId(((ApiMessage) data.getConstructor().newInstance()).apiKey());
    }

    private static JsonNode read(String json) throws Exception {
        return JSON.readTree(json.replace('\'', '"'));
    }

    private static String field(String name, ApiMessage answer) {
        Matcher found = Pattern.compile("\\b" + name + "='?([^,')]+)").matcher(answer.toString());
        if (!found.find()) {
            throw new IllegalStateException("no " + name + " in " + answer);
        }
        return found.group(1);
    }
}
