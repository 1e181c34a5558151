// One end of streams between a guest and its host, for both: over vsock in the guest, over Unix sockets on
// the host.
//
//   peer ENDPOINT pipe          standard input goes to the stream, the stream to standard output
//   peer ENDPOINT echo          answers every connection with what it sends, for ever
//   peer ENDPOINT storm N       N connections at once, each must get back what it sends
//   peer ENDPOINT abort BYTES   sends BYTES and ends without reading
//
// ENDPOINT: vsock:CID:PORT, vsock-listen:PORT, unix:PATH, unix-listen:PATH, call:PATH:PORT (asks Vellum for a
// guest's port).
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "peer: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct Endpoint {
  std::string kind, path;
  unsigned cid = 0, port = 0;

  static Endpoint parse(const std::string& text) {
    Endpoint e;
    const auto first = text.find(':'), last = text.rfind(':');
    e.kind = text.substr(0, first);
    const auto number = [&](std::size_t at) {
      return static_cast<unsigned>(std::stoul(text.substr(at + 1)));
    };
    if (e.kind.starts_with("vsock")) e.port = number(last);
    if (e.kind == "vsock") e.cid = number(first);
    if (e.kind.starts_with("unix")) e.path = text.substr(first + 1);
    if (e.kind == "call") e.path = text.substr(first + 1, last - first - 1), e.port = number(last);
    return e;
  }
  bool listens() const { return kind.ends_with("-listen"); }

  int open() const {
    const bool vsock = kind.starts_with("vsock");
    const int fd = ::socket(vsock ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    sockaddr_vm vm{};
    vm.svm_family = AF_VSOCK;
    vm.svm_cid = listens() ? VMADDR_CID_ANY : cid;
    vm.svm_port = port;
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    path.copy(un.sun_path, sizeof un.sun_path - 1);
    const auto* const address =
        vsock ? reinterpret_cast<const sockaddr*>(&vm) : reinterpret_cast<const sockaddr*>(&un);
    const socklen_t size = vsock ? sizeof vm : sizeof un;
    if (listens()) {
      if (::bind(fd, address, size) != 0 || ::listen(fd, 256) != 0) die("listen");
    } else if (::connect(fd, address, size) != 0) {
      die("connect");
    }
    if (kind == "call") call(fd);
    return fd;
  }
  void call(int fd) const {
    const std::string line = "CONNECT " + std::to_string(port) + "\n";
    if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) die("call");
    std::string answer;
    for (char c = 0; c != '\n'; answer += c)
      if (::recv(fd, &c, 1, 0) != 1) {
        std::fputs("peer: the call is refused\n", stderr);
        std::exit(3);
      }
    if (!answer.starts_with("OK ")) die("answer");
  }
};

bool write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t done = ::write(fd, data, size);
    if (done <= 0) return false;
    data += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

// Copies until the end of `from`; false if it broke.
bool copy(int from, int to) {
  std::vector<char> buffer(32768);
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got <= 0) return got == 0;
    if (!write_all(to, buffer.data(), static_cast<std::size_t>(got))) return false;
  }
}

int pipe_through(int fd) {
  bool sent = false;
  std::thread sender([&] {
    sent = copy(0, fd);
    ::shutdown(fd, SHUT_WR);
  });
  const bool received = copy(fd, 1);
  sender.join();
  return sent && received ? 0 : 1;
}

void echo(int listener) {
  for (;;) {
    const int fd = ::accept(listener, nullptr, nullptr);
    if (fd < 0) die("accept");
    std::thread([fd] {
      copy(fd, fd);
      ::shutdown(fd, SHUT_WR);
      ::close(fd);
    }).detach();
  }
}

int storm(const Endpoint& endpoint, unsigned count) {
  std::vector<int> sockets;
  for (unsigned n = 0; n < count; ++n) sockets.push_back(endpoint.open());
  const auto text = [](unsigned n) {
    std::string line;
    while (line.size() < 20000) line += std::to_string(n) + " of a storm\n";
    return line;
  };
  for (unsigned n = 0; n < count; ++n) {
    const std::string line = text(n);
    if (!write_all(sockets[n], line.data(), line.size())) die("storm: send");
  }
  for (unsigned n = 0; n < count; ++n) {
    ::shutdown(sockets[n], SHUT_WR);
    std::string back;
    char buffer[4096];
    for (ssize_t got; (got = ::read(sockets[n], buffer, sizeof buffer)) > 0;)
      back.append(buffer, static_cast<std::size_t>(got));
    if (back != text(n)) {
      std::fprintf(stderr, "peer: connection %u of the storm got back %zu bytes\n", n, back.size());
      return 1;
    }
    ::close(sockets[n]);
  }
  std::printf("storm of %u came back\n", count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  ::signal(SIGPIPE, SIG_IGN);
  const Endpoint endpoint = Endpoint::parse(argv[1]);
  const std::string mode = argv[2];
  const unsigned count = argc > 3 ? static_cast<unsigned>(std::stoul(argv[3])) : 1;
  if (mode == "storm") return storm(endpoint, count);
  int fd = endpoint.open();
  if (mode == "echo") echo(fd);
  if (endpoint.listens()) {
    fd = ::accept(fd, nullptr, nullptr);
    if (fd < 0) die("accept");
  }
  if (mode == "pipe") return pipe_through(fd);
  // abort
  const std::string bytes(count, 'x');
  write_all(fd, bytes.data(), bytes.size());
  return 0;
}
