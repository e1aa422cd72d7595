<?php
// Lists the newest messages of one enterprise at one provider and saves the first
// document. PHP 8 without extensions; with ext-curl the options have other names.
// Usage: php ebox.php [CBE number]
declare(strict_types=1);

$gateway = getenv('GATEWAY') ?: 'http://127.0.0.1:8080';
$provider = getenv('PROVIDER') ?: 'nsso';
$number = $argv[1] ?? '0206731645';

/** GET for an enterprise: status, header (names in lower case) and the open body. */
function call(string $url, string $number): array
{
    $context = stream_context_create(['http' => [
        'header' => "On-Behalf-Of-Enterprise-Number: $number\r\nX-Actor: ebox.php\r\nConnection: close",
        'protocol_version' => 1.1, 'timeout' => 120, 'ignore_errors' => true, 'follow_location' => 0,
    ]]);
    $body = fopen($url, 'r', false, $context);
    if ($body === false) {
        throw new RuntimeException("no answer from $url");
    }
    $header = [];
    foreach (stream_get_meta_data($body)['wrapper_data'] as $line) {
        if (preg_match('#^HTTP/\S+ (\d{3})#', $line, $m)) {
            $status = (int) $m[1];
        } elseif (str_contains($line, ':')) {
            [$name, $value] = explode(':', $line, 2);
            $header[strtolower($name)] = trim($value);
        }
    }
    return [$status, $header, $body];
}

/** Reads, and asks again up to three times where waiting helps. */
function read(string $url, string $number): array
{
    for ($left = 2; ; $left--) {
        [$status, $header, $body] = call($url, $number);
        if ($left === 0 || !in_array($status, [429, 502, 503, 504], true)) {
            $text = stream_get_contents($body);
            if (isset($header['content-length']) && strlen($text) !== (int) $header['content-length']) {
                throw new RuntimeException("the answer of $url was cut short");
            }
            return [$status, $header, $text];
        }
        sleep(min((int) ($header['retry-after'] ?? 1), 60));
    }
}

[$status, $header, $text] = read("$gateway/ebox/providers/$provider/ebox/messages?pageSize=3", $number);
if ($status !== 200) {
    $author = str_contains($header['proxy-status'] ?? '', 'error=') ? 'gateway' : 'upstream';
    echo "status $status, said by the $author; request {$header['x-request-id']}\n$text\n";
    exit(1);
}
$messages = json_decode($text, true, 512, JSON_THROW_ON_ERROR)['items'];
foreach ($messages as $message) {
    echo "message {$message['messageId']}\n";
}

// Fetching a document marks it read: once, and never repeated. PHP does not say when
// an answer is cut short, so its length is compared.
[$status, $header, $body] = call($messages[0]['attachments']['items'][0]['contentHref'], $number);
$file = tmpfile();
$size = stream_copy_to_stream($body, $file);
if ($status !== 200 || isset($header['content-length']) && $size !== (int) $header['content-length']) {
    fwrite(STDERR, "status $status, or the document was cut short\n");
    exit(1);
}
echo "document of $size bytes\n";
