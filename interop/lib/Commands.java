import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Map;

/** A suite's program that is told what to do: a command a line on standard input, each answered with a line of JSON on standard output. See commands.py. */
final class Commands {
    interface Program {
        /** Does what the words say; what it returns is the answer. */
        Object run(String[] words) throws Exception;
    }

    private Commands() {}

    /** Returns when there are no commands any more. A command that fails is answered with why. */
    static void answer(Program program) throws IOException {
        ObjectMapper json = new ObjectMapper();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            Object answer;
            try {
                answer = program.run(command.split(" "));
            } catch (Throwable e) {
                e.printStackTrace();
                answer = Map.of("failed", String.valueOf(e));
            }
            System.out.println(json.writeValueAsString(answer));
            System.out.flush();
        }
    }
}
