<?php
// PHP as it stands in old intranets: file_get_contents and a base URL.
// Usage: php legacy.php [CBE number]
$base = (getenv('GATEWAY') ?: 'http://127.0.0.1:8080') . '/enterprises/' . (isset($argv[1]) ? $argv[1] : '0206731645');

function fail($text)
{
    echo $text, "\n";
    exit(1);
}

// PHP does not say when an answer is cut short: it warns of a connection that was reset,
// returns what there is, and does not compare the length.
function get($url)
{
    error_clear_last();
    $body = @file_get_contents($url);
    if ($body === false) {
        fail(isset($http_response_header) ? $http_response_header[0] : 'no answer');
    }
    $cut = error_get_last() !== null;
    foreach ($http_response_header as $line) {
        if (preg_match('/^content-length: *(\d+)/i', $line, $m) && (int) $m[1] !== strlen($body)) {
            $cut = true;
        }
    }
    if ($cut) {
        fail('the answer was cut short');
    }
    return [$http_response_header[0], $body];
}

list($status, $text) = get($base . '/ebox/providers/nsso/ebox/messages?pageSize=1');
echo $status, "\n";
$list = json_decode($text, true);
list(, $document) = get($list['items'][0]['attachments']['items'][0]['contentHref']);
echo 'document of ', strlen($document), " bytes\n";
