import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.requests.RequestUtils;

/** A connection of its own for each request, so that what one of them brings about is seen by itself, unless it is kept. */
final class Connection {
    private static final int TIMEOUT_MS = 60_000;
    /** Of a coordinator that was not told of its partition yet, or still reads its log. */
    private static final Pattern IS_TO_COME = Pattern.compile("errorCode=1[456]\\b");
    private final String host;
    private final int port;

    Connection(String bootstrap) {
        host = bootstrap.substring(0, bootstrap.lastIndexOf(':'));
        port = Integer.parseInt(bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
    }

    /** The answer, or null. A coordinator that is not there yet is asked again. */
    ApiMessage ask(ApiMessage request, int version) throws IOException {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(TIMEOUT_MS);
        ApiMessage answer;
        do {
            answer = ask(request, version, TIMEOUT_MS);
        } while (answer != null && IS_TO_COME.matcher(answer.toString()).find() && System.nanoTime() < deadline);
        return answer;
    }

    /** The answer that comes within this time, or null. */
    ApiMessage ask(ApiMessage request, int version, int timeoutMs) throws IOException {
        try (Kept kept = keep()) {
            return kept.ask(request, version, timeoutMs);
        }
    }

    /** A connection for several requests, for what a broker keeps with it. */
    Kept keep() throws IOException {
        return new Kept(new Socket(host, port));
    }

    record Kept(Socket socket) implements AutoCloseable {
        ApiMessage ask(ApiMessage request, int version) throws IOException {
            return ask(request, version, TIMEOUT_MS);
        }

        private ApiMessage ask(ApiMessage request, int version, int timeoutMs) throws IOException {
            ApiKeys api = ApiKeys.forId(request.apiKey());
            var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion((short) version).setClientId("requests").setCorrelationId(7);
            ByteBuffer frame = RequestUtils.serialize(header, api.requestHeaderVersion((short) version), request, (short) version);
            socket.setSoTimeout(timeoutMs);
            ByteBuffer whole = ByteBuffer.allocate(4 + frame.remaining()).putInt(frame.remaining()).put(frame);
            try {
                socket.getOutputStream().write(whole.array());
                DataInputStream in = new DataInputStream(socket.getInputStream());
                byte[] answer = new byte[in.readInt()];
                in.readFully(answer);
                ByteBufferAccessor bytes = new ByteBufferAccessor(ByteBuffer.wrap(answer));
                new ResponseHeaderData().read(bytes, api.responseHeaderVersion((short) version));
                ApiMessage response = api.messageType.newResponse();
                response.read(bytes, (short) version);
                return response;
            } catch (EOFException | SocketTimeoutException e) {
                return null;
            }
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }
}
