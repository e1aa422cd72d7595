// .NET Framework 4.8, as it runs in old intranets: WebClient and a base URL.
using System;
using System.Net;
using System.Text.RegularExpressions;

public static class Legacy
{
    public static int Main(string[] args)
    {
        var gateway = Environment.GetEnvironmentVariable("GATEWAY") ?? "http://127.0.0.1:8080";
        var address = gateway + "/enterprises/" + (args.Length > 0 ? args[0] : "0206731645");
        using (var client = new WebClient { Proxy = null, Encoding = System.Text.Encoding.UTF8 })
        {
            try
            {
                var list = client.DownloadString(address + "/ebox/providers/nsso/ebox/messages?pageSize=1");
                var link = Regex.Match(list, "\"contentHref\":\"([^\"]+)\"").Groups[1].Value.Replace("\\/", "/");
                var document = client.DownloadData(link); // throws if it is cut short
                Console.WriteLine("document of " + document.Length + " bytes");
                return 0;
            }
            catch (WebException e) when (e.Response is HttpWebResponse)
            {
                var answer = (HttpWebResponse)e.Response;
                Console.WriteLine("status " + (int)answer.StatusCode + "; request " + answer.Headers["X-Request-Id"]);
                return 1;
            }
        }
    }
}
