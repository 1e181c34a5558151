#include "io/console.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace vellum {
namespace {

u64 now_ms() {
  using namespace std::chrono;
  return static_cast<u64>(duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

}  // namespace

Result<std::unique_ptr<Console>> Console::create(EventLoop& loop, int in_fd, int out_fd, Events events) {
  auto on_closed = events.output_closed;
  std::unique_ptr<Console> console(new Console(loop, in_fd, std::move(events)));
  VELLUM_TRY_ASSIGN(output, Output::create(loop, out_fd, std::move(on_closed)));
  console->output_ = std::move(output);
  Console* raw = console.get();
  console->hold_ = loop.delay([raw] { raw->on_hold_over(); });
  auto watch = loop.watch(in_fd, EventLoop::Direction::kRead, [raw] { raw->on_readable(); });
  if (watch) {
    console->readable_ = std::move(*watch);
    console->reading_ = true;
    console->readable_->arm();
  } else {  // standard input is closed: as good as empty
    console->eof_ = true;
    loop.post([raw] { raw->pump(); });
  }
  if (RawTerminal::is_terminal(out_fd)) console->modes_.emplace();
  if (RawTerminal::is_terminal(in_fd)) {
    VELLUM_TRY_ASSIGN(terminal, RawTerminal::enter(in_fd));
    console->terminal_.emplace(std::move(terminal));
  }
  return console;
}

void Console::write(std::span<const u8> bytes) {
  if (modes_) {
    const std::scoped_lock lock(modes_mutex_);
    modes_->see(bytes);
  }
  output_->write(bytes);
}

void Console::restore_terminal() {
  if (modes_) {
    const std::string undo = modes_->undo();
    modes_.reset();
    // Nobody looks at signals any more, so nothing may wait: a terminal that takes none does without.
    output_->abandon();
    // SAFETY: bytes as bytes.
    if (!undo.empty()) output_->write(std::span(reinterpret_cast<const u8*>(undo.data()), undo.size()));
    output_->flush();
  }
  terminal_.reset();
}

void Console::connect(Receiver receiver) {
  loop_.run_on_loop([&] {
    receiver_ = std::move(receiver);
    pump();
  });
}

void Console::on_output_room(std::function<void()> notify) {
  loop_.run_on_loop([&] { output_->on_room(std::move(notify)); });
}

std::optional<TerminalSize> Console::size() const {
  return terminal_ ? RawTerminal::size(in_fd_) : std::nullopt;
}

void Console::receiver_ready() {
  if (!pump_posted_.exchange(true, std::memory_order_acq_rel)) loop_.post([this] { pump(); });
}

void Console::suspend() {
  if (terminal_) terminal_->suspend();
}

void Console::resume() {
  if (terminal_) terminal_->resume();
}

void Console::on_readable() {
  reading_ = false;
  std::array<u8, 4096> buffer;
  const auto n = ::read(in_fd_, buffer.data(), buffer.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
    reading_ = true;
    readable_->arm();
    return;
  }
  if (n <= 0) {  // end of file, or a terminal that hung up (EIO)
    eof_ = true;
    pump();
    return;
  }
  const std::span<const u8> bytes(buffer.data(), static_cast<std::size_t>(n));
  if (!terminal_) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  } else {
    if (filter_.feed(bytes, now_ms(), pending_)) {
      events_.leave();
      return;
    }
    if (filter_.deadline_ms()) hold_->arm(std::chrono::milliseconds(EscapeFilter::kWindowMs + 1));
    if (pending_.size() > kMaxPending) pending_.resize(kMaxPending);
  }
  pump();
}

void Console::on_hold_over() {
  filter_.expire(now_ms(), pending_);
  pump();
}

void Console::pump() {
  pump_posted_.store(false, std::memory_order_release);
  if (receiver_ && !pending_.empty()) {
    const std::size_t taken = receiver_(pending_);
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  if (eof_) {
    if (pending_.empty() && input_possible_.exchange(false)) events_.input_closed();
    return;
  }
  if (!reading_ && (terminal_ || pending_.empty())) {
    reading_ = true;
    readable_->arm();
  }
}

}  // namespace vellum
