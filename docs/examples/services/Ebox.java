import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lists the newest messages of one enterprise at one provider and saves the first document. Java 11
 * or later, no library; a real program reads the JSON with one. Usage: java Ebox.java [CBE number]
 */
public final class Ebox {
    private static final String GATEWAY = System.getenv().getOrDefault("GATEWAY", "http://127.0.0.1:8080");
    private static final String PROVIDER = System.getenv().getOrDefault("PROVIDER", "nsso");
    private static final Set<Integer> PASSING = Set.of(429, 502, 503, 504);

    // HTTP/2 would have to be asked for by an upgrade, which the gateway does not do on plain http.
    private final HttpClient client = HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(30)).build();
    private final String number;

    private Ebox(String number) {
        this.number = number;
    }

    private HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofMinutes(2))
            .header("On-Behalf-Of-Enterprise-Number", number).header("X-Actor", "Ebox.java").build();
    }

    /** Reads, and asks again up to three times where waiting helps. */
    private HttpResponse<String> read(String url) throws IOException, InterruptedException {
        for (int left = 2; ; left--) {
            HttpResponse<String> answer = client.send(get(url), HttpResponse.BodyHandlers.ofString());
            if (left == 0 || !PASSING.contains(answer.statusCode())) {
                return answer;
            }
            long wait = answer.headers().firstValue("Retry-After").filter(v -> v.matches("\\d+")).map(Long::parseLong).orElse(1L);
            Thread.sleep(Math.min(wait, 60) * 1000);
        }
    }

    private int run() throws IOException, InterruptedException {
        HttpResponse<String> list = read(GATEWAY + "/ebox/providers/" + PROVIDER + "/ebox/messages?pageSize=3");
        if (list.statusCode() != 200) {
            boolean own = list.headers().firstValue("Proxy-Status").orElse("").contains("error=");
            System.out.printf("status %d, said by the %s; request %s%n%s%n", list.statusCode(), own ? "gateway" : "upstream",
                list.headers().firstValue("X-Request-Id").orElse("?"), list.body());
            return 1;
        }
        Matcher id = Pattern.compile("\"messageId\":\"([^\"]+)\"").matcher(list.body());
        while (id.find()) {
            System.out.println("message " + id.group(1));
        }
        Matcher link = Pattern.compile("\"contentHref\":\"([^\"]+)\"").matcher(list.body());
        if (!link.find()) {
            return 0;
        }
        // Fetching a document marks it read: once, and never repeated. A download that is cut short
        // is an IOException.
        Path file = Files.createTempFile("ebox", ".document");
        try {
            HttpResponse<Path> document = client.send(get(link.group(1).replace("\\/", "/")), HttpResponse.BodyHandlers.ofFile(file));
            if (document.statusCode() != 200) {
                System.out.println("status " + document.statusCode());
                return 1;
            }
            System.out.println("document of " + Files.size(file) + " bytes");
        } finally {
            Files.deleteIfExists(file);
        }
        return 0;
    }

    public static void main(String[] args) throws Exception {
        System.exit(new Ebox(args.length > 0 ? args[0] : "0206731645").run());
    }
}
