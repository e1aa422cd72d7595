import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Java as it was written before Java 8: one base URL in a settings file, and no headers. */
public class Legacy {
    public static void main(String[] args) throws IOException {
        String gateway = System.getenv("GATEWAY") != null ? System.getenv("GATEWAY") : "http://127.0.0.1:8080";
        String base = gateway + "/enterprises/" + (args.length > 0 ? args[0] : "0206731645");

        String list = new String(get(base + "/ebox/providers/nsso/ebox/messages?pageSize=1"), "UTF-8");
        Matcher link = Pattern.compile("\"contentHref\":\"([^\"]+)\"").matcher(list);
        if (link.find()) {
            byte[] document = get(link.group(1).replace("\\/", "/"));
            System.out.println("document of " + document.length + " bytes");
        }
    }

    private static byte[] get(String url) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setConnectTimeout(30000);
        connection.setReadTimeout(120000); // without these it waits for ever
        int status = connection.getResponseCode();
        System.out.println("status " + status);
        InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        byte[] piece = new byte[8192];
        for (int n; (n = in.read(piece)) > 0; ) {
            out.write(piece, 0, n);
        }
        // The connection's end looks like the answer's end: Java does not compare the length.
        int length = connection.getContentLength(); // -1 if the answer does not say
        if (length >= 0 && length != out.size()) {
            throw new IOException("the answer was cut short: " + out.size() + " of " + length + " bytes");
        }
        if (status >= 400) {
            System.out.println(out.toString("UTF-8"));
            System.exit(1);
        }
        return out.toByteArray();
    }
}
