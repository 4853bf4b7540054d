# ruby: forks, programs started, and threads, beside a live connection and a parked one.
require "net/http"
require "open3"

$stdout.sync = true
PORT = Integer(ARGV[0])

# Asked with the process's id, so that the server knows who used which connection.
def get(name)
  owner = "~#{Process.pid}"
  body = Net::HTTP.get(URI("http://127.0.0.1:#{PORT}/echo/#{name}#{owner}"))
  "#{name} #{body.delete_suffix(owner)}"
end

def in_child(name)
  reader, writer = IO.pipe
  child = fork do
    reader.close
    5.times { |i| writer.puts get("#{name}-#{i}") }
    writer.close
    exit! 3
  end
  writer.close
  lines = reader.readlines
  Process.wait(child)
  [lines, $?.exitstatus]
end

def through_cat(text)
  IO.popen("cat", "r+") do |cat|
    cat.puts text
    cat.close_write
    cat.read
  end
end

def threads_and_programs(name)
  asking = 4.times.map { |i| Thread.new { 10.times.map { |j| get("#{name}-#{i}-#{j}") } } }
  starting = 4.times.map { |i| Thread.new { `echo program #{i}` } }
  (asking + starting).map(&:value)
end

def own_descriptors # those of the library are higher
  Dir.children("/proc/self/fd").map(&:to_i).select { |fd| fd < 500 }.sort
end

WAYS = [
  ->(_) { `ls /proc/self/fd`.split },
  ->(_) { system("true") },
  ->(_) { Process.wait2(spawn("ls /proc/self/fd"))[1].exitstatus },
  ->(_) { Process.wait2(spawn("ls", "/proc/self/fd", close_others: true))[1].exitstatus },
  ->(number) { in_child("child-#{number}") },
  ->(number) { through_cat(get("piped-#{number}")) },
  ->(number) { Open3.capture3("cat; echo away >&2", stdin_data: get("three-#{number}"))[0, 2] },
  ->(number) { threads_and_programs("thread-#{number}") },
]

p own_descriptors
WAYS.each_with_index do |way, number|
  puts get("before-#{number}")
  Net::HTTP.start("127.0.0.1", PORT) do |live|
    puts live.get("/echo/live-#{number}-0").body
    puts get("beside-#{number}")
    p way.call(number)
    puts live.get("/echo/live-#{number}-1").body
  end
  puts get("after-#{number}")
end
p own_descriptors
