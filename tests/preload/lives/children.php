<?php
// php: forks and programs started, beside a live connection and a parked one.
$port = (int)$argv[1];

// Asked with the process's id, so that the server knows who used which connection.
function ask_on($socket, $name) {
    $owner = "~" . getmypid();
    fwrite($socket, "GET /echo/$name$owner HTTP/1.1\r\nHost: loopback\r\n\r\n");
    while (($line = fgets($socket)) !== "\r\n")
        if (str_starts_with($line, "Content-Length:")) $left = (int)substr($line, 16);
    $body = "";
    while (strlen($body) < $left) $body .= fread($socket, $left - strlen($body));
    return "$name " . str_replace($owner, "", $body);
}

function get($name) {
    global $port;
    $socket = fsockopen("127.0.0.1", $port);
    $line = ask_on($socket, $name);
    fclose($socket);
    return $line;
}

function in_child($name) {
    $ends = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $child = pcntl_fork();
    if ($child === 0) {
        fclose($ends[0]);
        for ($i = 0; $i < 5; $i++) fwrite($ends[1], get("$name-$i") . "\n");
        exit(3);
    }
    fclose($ends[1]);
    $lines = stream_get_contents($ends[0]);
    pcntl_waitpid($child, $status);
    return $lines . pcntl_wexitstatus($status);
}

function through_cat($text) {
    $process = proc_open(["cat"], [["pipe", "r"], ["pipe", "w"]], $pipes);
    fwrite($pipes[0], $text);
    fclose($pipes[0]);
    $copy = stream_get_contents($pipes[1]);
    return $copy . " " . proc_close($process);
}

function own_descriptors() { // those of the library are higher
    return implode(" ", array_filter(scandir("/proc/self/fd"), fn($fd) => strlen($fd) < 3));
}

$ways = [
    fn($number) => shell_exec("ls /proc/self/fd"),
    fn($number) => stream_get_contents(popen("ls /proc/self/fd; echo popen", "r")),
    fn($number) => in_child("child-$number"),
    fn($number) => through_cat(get("piped-$number")),
];

foreach ($ways as $number => $way) {
    echo get("before-$number"), "\n";
    $live = fsockopen("127.0.0.1", $port);
    echo ask_on($live, "live-$number-0"), "\n";
    echo get("beside-$number"), "\n";
    echo $way($number), "\n";
    echo ask_on($live, "live-$number-1"), "\n";
    fclose($live);
    echo get("after-$number"), "\n";
}
echo own_descriptors(), "\n";
