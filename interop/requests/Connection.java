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

/** A connection of its own for each request, so that what one of them brings about is seen by itself. */
final class Connection {
    private static final int TIMEOUT_MS = 3000;
    private final String host;
    private final int port;

    Connection(String bootstrap) {
        host = bootstrap.substring(0, bootstrap.lastIndexOf(':'));
        port = Integer.parseInt(bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
    }

    /** The answer, or null; then `end` says why there is none. */
    ApiMessage ask(ApiMessage request, int version) throws IOException {
        ApiKeys api = ApiKeys.forId(request.apiKey());
        var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion((short) version).setClientId("requests").setCorrelationId(7);
        ByteBuffer frame = RequestUtils.serialize(header, api.requestHeaderVersion((short) version), request, (short) version);
        try (Socket socket = new Socket(host, port)) {
            socket.setSoTimeout(TIMEOUT_MS);
            ByteBuffer whole = ByteBuffer.allocate(4 + frame.remaining()).putInt(frame.remaining()).put(frame);
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
}
