<?php
// php's curl extension, which php loads with RTLD_DEEPBIND: a handle for each request.
function get($port, $name) {
    $handle = curl_init("http://127.0.0.1:$port/echo/$name");
    curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
    return curl_exec($handle);
}

for ($i = 0; $i < 40; $i++) {
    $name = "extension-$i~" . getmypid();
    echo $i, " ", get($argv[1], $name) === $name ? "right" : "wrong", "\n";
    if ($i % 10 === 9) echo shell_exec("ls /proc/self/fd");
}
