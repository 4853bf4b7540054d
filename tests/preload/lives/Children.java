/* java: programs started while connected, requests around them, and sockets closed by another
 * thread than the one which is blocked in them. */

import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

public class Children {
    static int port;
    static final String owner = "~" + ProcessHandle.current().pid();

    /** Asked with the process's id, so that the server knows who used which connection. */
    static String ask(String name) throws IOException {
        URL url = new URL("http://127.0.0.1:" + port + "/echo/" + name + owner);
        try (InputStream in = url.openConnection().getInputStream()) {
            return name + " " + text(in.readAllBytes());
        }
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.US_ASCII).replace(owner, "");
    }

    static String askOn(Socket socket, String name) throws IOException {
        String request = "GET /echo/" + name + owner + " HTTP/1.1\r\nHost: loopback\r\n\r\n";
        socket.getOutputStream().write(request.getBytes());
        InputStream in = socket.getInputStream();
        String head = "";
        while (!head.endsWith("\r\n\r\n"))
            head += (char) in.read();
        int length = Integer.parseInt(head.split("Content-Length: ")[1].split("\r\n")[0]);
        return name + " " + text(in.readNBytes(length));
    }

    static String start(String... command) throws Exception {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes());
        return process.waitFor() + " " + output.replace('\n', ' ');
    }

    /** The reader is blocked, or not yet, when the socket is closed: it ends in either case. */
    static String closedWhileReading(String name) throws Exception {
        Socket socket = new Socket("127.0.0.1", port);
        String line = askOn(socket, name);
        FutureTask<String> reader = new FutureTask<>(() -> {
            try {
                return "read " + socket.getInputStream().read();
            } catch (SocketException closed) {
                return "closed";
            }
        });
        Thread thread = new Thread(reader);
        thread.start();
        while (!isReading(thread))
            Thread.yield();
        socket.close();
        return line + " " + reader.get();
    }

    static boolean isReading(Thread thread) {
        for (StackTraceElement frame : thread.getStackTrace())
            if (frame.isNativeMethod())
                return true;
        return false;
    }

    static void turn(int number) throws Exception {
        System.out.println(ask("before-" + number));
        try (Socket live = new Socket("127.0.0.1", port)) {
            System.out.println(askOn(live, "live-" + number + "-0"));
            System.out.println(start("sh", "-c", "echo started; exit " + number));
            System.out.println(start("ls", "/proc/self/fd"));
            System.out.println(askOn(live, "live-" + number + "-1"));
            System.out.println(ask("between-" + number));
        }
        System.out.println(closedWhileReading("reader-" + number));
        System.out.println(ask("after-" + number));
    }

    static void together() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(6);
        List<Future<String>> results = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            String name = "together-" + i;
            int kind = i % 3;
            results.add(threads.submit(() -> {
                if (kind == 0)
                    return ask(name);
                if (kind == 1)
                    return closedWhileReading(name);
                return start("echo", name);
            }));
        }
        for (Future<String> result : results)
            System.out.println(result.get());
        threads.shutdown();
    }

    public static void main(String[] arguments) throws Exception {
        port = Integer.parseInt(arguments[0]);
        for (int i = 0; i < 4; i++)
            turn(i);
        together();
        System.out.println(ask("last"));
        // HttpURLConnection keeps some connections, more or fewer
        String[] descriptors = new File("/proc/self/fd").list((directory, fd) -> fd.length() < 3);
        System.out.println(descriptors.length < 20);
    }
}
