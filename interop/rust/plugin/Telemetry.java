import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.telemetry.ClientTelemetry;
import org.apache.kafka.server.telemetry.ClientTelemetryPayload;
import org.apache.kafka.server.telemetry.ClientTelemetryReceiver;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.Metric;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.MetricsData;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.NumberDataPoint;

/**
 * Makes Apache Kafka's broker take clients' metrics, and writes down what they tell: a line of client id, whether it is the last push, name, kind, labels and value for
 * each, in the file that the setting `telemetry.file` names.
 */
public final class Telemetry implements MetricsReporter, ClientTelemetry, ClientTelemetryReceiver {
    private Path file;

    @Override
    public void configure(Map<String, ?> settings) {
        file = Path.of((String) settings.get("telemetry.file"));
    }

    @Override
    public ClientTelemetryReceiver clientReceiver() {
        return this;
    }

    @Override
    public void exportMetrics(AuthorizableRequestContext context, ClientTelemetryPayload payload) {
        try {
            ByteBuffer data = payload.data();
            byte[] bytes = new byte[data.remaining()];
            data.get(bytes);
            StringBuilder lines = new StringBuilder();
            for (var resource : MetricsData.parseFrom(bytes).getResourceMetricsList()) {
                for (var scope : resource.getScopeMetricsList()) {
                    for (Metric metric : scope.getMetricsList()) {
                        lines.append(line(context.clientId(), payload.isTerminating(), metric));
                    }
                }
            }
            Files.writeString(file, lines, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String line(String client, boolean isLast, Metric metric) {
        List<NumberDataPoint> points = metric.hasSum() ? metric.getSum().getDataPointsList() : metric.getGauge().getDataPointsList();
        String kind = metric.hasSum() ? "sum" : "gauge";
        return points.stream().map(point -> {
            String labels = point.getAttributesList().stream().map(label -> label.getKey() + "=" + label.getValue().getStringValue()).sorted().collect(Collectors.joining(","));
            double value = point.hasAsDouble() ? point.getAsDouble() : point.getAsInt();
            return String.join("\t", client, isLast ? "last" : "", metric.getName(), kind, labels, String.valueOf(value)) + "\n";
        }).collect(Collectors.joining());
    }

    @Override
    public void init(List<KafkaMetric> metrics) {}

    @Override
    public void metricChange(KafkaMetric metric) {}

    @Override
    public void metricRemoval(KafkaMetric metric) {}

    @Override
    public void close() {}
}
