<?php
// PHP as it stands in old intranets: file_get_contents and a base URL.
// Usage: php legacy.php [CBE number]
$base = (getenv('GATEWAY') ?: 'http://127.0.0.1:8080') . '/enterprises/' . (isset($argv[1]) ? $argv[1] : '0206731645');

$list = @file_get_contents($base . '/ebox/providers/nsso/ebox/messages?pageSize=1');
if ($list === false) {
    echo isset($http_response_header) ? $http_response_header[0] : 'no answer', "\n";
    exit(1);
}
echo $http_response_header[0], "\n";
$list = json_decode($list, true);
$document = file_get_contents($list['items'][0]['attachments']['items'][0]['contentHref']);
foreach ($http_response_header as $line) { // PHP does not say when an answer is cut short
    if (preg_match('/^content-length: *(\d+)/i', $line, $m) && (int) $m[1] !== strlen($document)) {
        exit("the document was cut short\n");
    }
}
echo 'document of ', strlen($document), " bytes\n";
