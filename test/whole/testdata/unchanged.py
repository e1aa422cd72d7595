"""A program as others wrote it: it knows the platform's own URLs, fetches a token first, follows the links of the
answers as they are, and takes the id of what it made from the end of Location. All that it is given is http_proxy."""

import json
import sys
import urllib.parse
import urllib.request

HOST = "http://services.socialsecurity.be"
EBOX = HOST + "/REST/ebox/enterprise/messageRegistry/v3"
GRANT = HOST + "/REST/grant/citizen/v1"
ENTERPRISE = sys.argv[1]


def call(url, method="GET", body=None, content_type="application/json", token=None):
    url = urllib.parse.urljoin(HOST, url)
    if not url.startswith(HOST + "/"):
        sys.exit("a link leads to " + url)
    request = urllib.request.Request(url, method=method, data=body, headers={"On-Behalf-Of-Enterprise-Number": ENTERPRISE})
    if body is not None:
        request.add_header("Content-Type", content_type)
    if token:
        request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


form = {"grant_type": "client_credentials", "client_id": "their-own", "client_assertion": "eyJ.secret.assertion"}
token = json.loads(call(HOST + "/REST/oauth/v5/token", "POST", urllib.parse.urlencode(form).encode(),
                        "application/x-www-form-urlencoded")[1])["access_token"]


def pages(url, items):
    while url:
        page = json.loads(call(url, token=token)[1])
        yield from page[items]
        url = page.get("next") or page.get("_links", {}).get("next", {}).get("href")


messages = list(pages(EBOX + "/ebox/messages?pageSize=2", "items"))
href = EBOX + "/ebox/messages/" + str(messages[-1]["messageId"]) + "/attachments"
attachments = json.loads(call(href, token=token)[1])
document = call((attachments.get("items") or attachments)[0]["contentHref"], token=token)[1]

mandate = {"mandatorSsin": "79072300048", "scopes": ["precontractualDataFlexiJob"], "representedEnterpriseNumber": ENTERPRISE}
made = call(GRANT + "/mandates", "POST", json.dumps(mandate).encode(), token=token)[0]["Location"]
identifier = made.rsplit("/", 1)[-1]
call(made, token=token)
mandates = list(pages(GRANT + "/mandates?pageSize=1&representedEnterpriseNumber=" + ENTERPRISE, "items"))

json.dump({"messages": len(messages), "document": len(document), "location": made, "id": identifier,
           "mandates": len(mandates)}, sys.stdout)
