import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a worker has begun and what it was told, a line each. A line is with the operating system before the worker goes on, so that it survives the
 * worker's death.
 */
final class Journal implements AutoCloseable {
    private final FileOutputStream file;

    /** Of one kind of work by one process. */
    Journal(Path directory, String kind, String process) throws IOException {
        file = new FileOutputStream(directory.resolve(kind + "-" + process + ".journal").toFile(), true);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }

    synchronized void line(Object... words) throws IOException {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            line.append(line.isEmpty() ? "" : " ").append(word);
        }
        file.write(line.append('\n').toString().getBytes(StandardCharsets.UTF_8));
    }

    /** All whole lines of this kind by all processes, each process's in order. */
    static List<String[]> read(Path directory, String kind) throws IOException {
        List<String[]> lines = new ArrayList<>();
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.filter(f -> f.getFileName().toString().startsWith(kind + "-")).sorted().toList()) {
                String text = Files.readString(file);
                text.substring(0, text.lastIndexOf('\n') + 1).lines().forEach(line -> lines.add(line.split(" ")));
            }
        }
        return lines;
    }
}
