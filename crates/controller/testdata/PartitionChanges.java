import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

import org.apache.kafka.common.DirectoryId;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.PartitionChangeRecord;
import org.apache.kafka.controller.PartitionChangeBuilder;
import org.apache.kafka.controller.PartitionChangeBuilder.Election;
import org.apache.kafka.metadata.LeaderRecoveryState;
import org.apache.kafka.metadata.PartitionRegistration;
import org.apache.kafka.server.common.MetadataVersion;

/** What Apache Kafka makes of partitions around which something changes: a line each, see README.md. */
public class PartitionChanges {
    static final Random RANDOM = new Random(4_3_1);

    static List<Integer> some(List<Integer> of, int outOfFour) {
        return of.stream().filter(id -> RANDOM.nextInt(4) < outOfFour).collect(Collectors.toList());
    }

    static List<Integer> shuffled(int size) {
        List<Integer> ids = IntStream.rangeClosed(1, 5).boxed().collect(Collectors.toList());
        Collections.shuffle(ids, RANDOM);
        return new ArrayList<>(ids.subList(0, size));
    }

    static List<Integer> without(List<Integer> list, List<Integer> others) {
        return list.stream().filter(id -> !others.contains(id)).collect(Collectors.toList());
    }

    static int[] array(List<Integer> list) {
        return list.stream().mapToInt(Integer::intValue).toArray();
    }

    static String text(List<Integer> list) {
        return list == null ? "same" : list.stream().map(String::valueOf).collect(Collectors.joining(","));
    }

    static void one() {
        boolean elrEnabled = RANDOM.nextBoolean();
        List<Integer> replicas = shuffled(1 + RANDOM.nextInt(4));
        List<Integer> isr = some(replicas, 2);
        if (isr.isEmpty() && !elrEnabled) isr = new ArrayList<>(List.of(replicas.get(0)));
        Collections.shuffle(isr, RANDOM);
        List<Integer> elr = elrEnabled ? new ArrayList<>(new TreeSet<>(some(without(replicas, isr), 1))) : new ArrayList<>();
        int leader = isr.isEmpty() || RANDOM.nextInt(4) == 0 ? -1 : isr.get(RANDOM.nextInt(isr.size()));
        List<Integer> last = new ArrayList<>();
        if (elrEnabled && leader == -1 && RANDOM.nextBoolean()) last.add(replicas.get(RANDOM.nextInt(replicas.size())));
        List<Integer> removing = new ArrayList<>(), adding = new ArrayList<>();
        if (replicas.size() > 1 && RANDOM.nextInt(3) == 0) {
            removing = some(replicas.subList(1, replicas.size()), 1);
            adding = some(without(replicas, removing), 1);
        }
        LeaderRecoveryState recovery =
            RANDOM.nextInt(5) == 0 && isr.size() == 1 ? LeaderRecoveryState.RECOVERING : LeaderRecoveryState.RECOVERED;
        Uuid[] directories = new Uuid[replicas.size()];
        java.util.Arrays.fill(directories, DirectoryId.UNASSIGNED);
        PartitionRegistration partition = new PartitionRegistration.Builder()
            .setReplicas(array(replicas)).setDirectories(directories).setIsr(array(isr))
            .setRemovingReplicas(array(removing)).setAddingReplicas(array(adding))
            .setElr(array(elr)).setLastKnownElr(array(last))
            .setLeader(leader).setLeaderRecoveryState(recovery).setLeaderEpoch(3).setPartitionEpoch(7).build();
        Set<Integer> active = new HashSet<>(some(IntStream.rangeClosed(1, 5).boxed().collect(Collectors.toList()), 3));
        int minIsr = 1 + RANDOM.nextInt(replicas.size());
        Election election = Election.values()[RANDOM.nextInt(3)];
        List<Integer> unclean = new ArrayList<>();

        List<Integer> toIsr = isr, toReplicas = replicas, toRemoving = removing, toAdding = adding;
        LeaderRecoveryState toRecovery = recovery;
        int kind = RANDOM.nextInt(4);
        if (kind == 0) {
            // A broker goes.
            int gone = replicas.get(RANDOM.nextInt(replicas.size()));
            active.remove(gone);
            toIsr = without(isr, List.of(gone));
            if (RANDOM.nextInt(3) == 0) unclean.add(gone);
        } else if (kind == 1 && leader != -1) {
            // The leader has spoken.
            active.add(leader);
            List<Integer> said = some(replicas, 3);
            if (!said.contains(leader)) said.add(leader);
            toIsr = said;
            active.addAll(said);
            toRecovery = LeaderRecoveryState.RECOVERED;
        } else if (kind == 2) {
            // Replicas are to move.
            List<Integer> target = shuffled(1 + RANDOM.nextInt(4));
            toRemoving = new ArrayList<>(new TreeSet<>(without(replicas, target)));
            toAdding = new ArrayList<>(new TreeSet<>(without(target, replicas)));
            toReplicas = new ArrayList<>(target);
            toReplicas.addAll(toRemoving);
        }
        PartitionChangeBuilder builder = new PartitionChangeBuilder(
            partition, new Uuid(1, 1), 0, active::contains, MetadataVersion.fromFeatureLevel((short) 30), minIsr, elrEnabled)
            .setElection(election)
            .setTargetIsr(toIsr).setTargetReplicas(toReplicas).setTargetRemoving(toRemoving).setTargetAdding(toAdding)
            .setTargetLeaderRecoveryState(toRecovery)
            .setDefaultDirProvider(id -> DirectoryId.UNASSIGNED);
        if (!unclean.isEmpty()) builder.setUncleanShutdownReplicas(unclean);
        Optional<PartitionChangeRecord> change = builder.build().map(record -> (PartitionChangeRecord) record.message());

        StringBuilder line = new StringBuilder();
        line.append("replicas ").append(text(replicas)).append(" isr ").append(text(isr)).append(" elr ").append(text(elr))
            .append(" last ").append(text(last)).append(" removing ").append(text(removing)).append(" adding ").append(text(adding))
            .append(" leader ").append(leader).append(" recovery ").append(recovery.value())
            .append(" | isr ").append(text(toIsr)).append(" replicas ").append(text(toReplicas))
            .append(" removing ").append(text(toRemoving)).append(" adding ").append(text(toAdding))
            .append(" recovery ").append(toRecovery.value()).append(" unclean ").append(text(unclean))
            .append(" election ").append(election.name().toLowerCase()).append(" active ").append(text(new ArrayList<>(new TreeSet<>(active))))
            .append(" min ").append(minIsr).append(" enabled ").append(elrEnabled).append(" | ");
        if (change.isEmpty()) {
            line.append("nothing");
        } else {
            PartitionChangeRecord record = change.get();
            line.append("leader ").append(record.leader()).append(" isr ").append(text(record.isr()))
                .append(" elr ").append(text(record.eligibleLeaderReplicas())).append(" last ").append(text(record.lastKnownElr()))
                .append(" replicas ").append(text(record.replicas())).append(" removing ").append(text(record.removingReplicas()))
                .append(" adding ").append(text(record.addingReplicas())).append(" recovery ").append(record.leaderRecoveryState());
        }
        System.out.println(line);
    }

    public static void main(String[] args) {
        for (int i = 0; i < Integer.parseInt(args[0]); i++) one();
    }
}
