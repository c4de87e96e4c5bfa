import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.requests.RequestUtils;

/** A connection of its own for each request, so that what one of them brings about is seen by itself, unless it is kept. */
final class Connection {
    private static final int TIMEOUT_MS = 3000;
    private final String host;
    private final int port;

    Connection(String bootstrap) {
        host = bootstrap.substring(0, bootstrap.lastIndexOf(':'));
        port = Integer.parseInt(bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
    }

    /** The answer, or null. */
    ApiMessage ask(ApiMessage request, int version) throws IOException {
        try (Kept kept = keep()) {
            return kept.ask(request, version);
        }
    }

    /** A connection for several requests, for what a broker keeps with it. */
    Kept keep() throws IOException {
        return new Kept(new Socket(host, port));
    }

    record Kept(Socket socket) implements AutoCloseable {
        ApiMessage ask(ApiMessage request, int version) throws IOException {
            ApiKeys api = ApiKeys.forId(request.apiKey());
            var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion((short) version).setClientId("requests").setCorrelationId(7);
            ByteBuffer frame = RequestUtils.serialize(header, api.requestHeaderVersion((short) version), request, (short) version);
            socket.setSoTimeout(TIMEOUT_MS);
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
