// Lists the newest messages of one enterprise at one provider and saves the first
// document. .NET 8 or later, as the Program.cs of a console project.
// Usage: dotnet run -- [CBE number]
using System.Net;
using System.Text.Json;

var gateway = Environment.GetEnvironmentVariable("GATEWAY") ?? "http://127.0.0.1:8080";
var provider = Environment.GetEnvironmentVariable("PROVIDER") ?? "nsso";
var number = args.Length > 0 ? args[0] : "0206731645";

// One client for the whole program; the gateway is in the house, so without a proxy.
using var client = new HttpClient(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false }) { Timeout = TimeSpan.FromMinutes(2) };
client.DefaultRequestHeaders.Add("On-Behalf-Of-Enterprise-Number", number);
client.DefaultRequestHeaders.Add("X-Actor", "Ebox.cs");

using var list = await Read($"{gateway}/ebox/providers/{provider}/ebox/messages?pageSize=3");
if (list.StatusCode != HttpStatusCode.OK)
{
    var author = Header(list, "Proxy-Status").Contains("error=") ? "gateway" : "upstream";
    Console.WriteLine($"status {(int)list.StatusCode}, said by the {author}; request {Header(list, "X-Request-Id")}");
    Console.WriteLine(await list.Content.ReadAsStringAsync());
    return 1;
}
using var json = JsonDocument.Parse(await list.Content.ReadAsStringAsync());
var messages = json.RootElement.GetProperty("items");
foreach (var message in messages.EnumerateArray())
{
    Console.WriteLine($"message {message.GetProperty("messageId").GetString()}");
}

// Fetching a document marks it read: once, and never repeated. A download that is cut
// short throws.
var link = messages[0].GetProperty("attachments").GetProperty("items")[0].GetProperty("contentHref").GetString();
using var document = await client.GetAsync(link, HttpCompletionOption.ResponseHeadersRead);
document.EnsureSuccessStatusCode();
var path = Path.GetTempFileName();
await using (var file = File.Create(path))
{
    await document.Content.CopyToAsync(file);
    Console.WriteLine($"document of {file.Length} bytes");
}
File.Delete(path);
return 0;

// Reads, and asks again up to three times where waiting helps.
async Task<HttpResponseMessage> Read(string url)
{
    for (var left = 2; ; left--)
    {
        var answer = await client.GetAsync(url);
        if (left == 0 || (int)answer.StatusCode is not (429 or 502 or 503 or 504))
        {
            return answer;
        }
        var wait = answer.Headers.RetryAfter?.Delta ?? TimeSpan.FromSeconds(1);
        answer.Dispose();
        await Task.Delay(wait < TimeSpan.FromMinutes(1) ? wait : TimeSpan.FromMinutes(1));
    }
}

static string Header(HttpResponseMessage answer, string name) =>
    answer.Headers.TryGetValues(name, out var values) ? string.Join(", ", values) : "";
