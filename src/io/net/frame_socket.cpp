#include "io/net/frame_socket.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "io/net/vnet_header.hpp"

namespace vellum::net {
namespace {

constexpr u32 kFrame = 1;
constexpr u32 kHello = 2;
constexpr u32 kVersion = 1;
constexpr int kBatch = 64;
constexpr std::size_t kMaxMessage = sizeof(u32) + sizeof(VnetHeader) + kMaxFrame;

template <class T>
bool take_value(std::span<const u8>& bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return true;
}

}  // namespace

Result<std::unique_ptr<FrameSocket>> FrameSocket::create(EventLoop& loop, FileDescriptor socket,
                                                         Counter& dropped, Events events) {
  // As much as the host lets us have: a frame to be cut is 64 KiB.
  const int size = 1 << 20;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  std::unique_ptr<FrameSocket> made(new FrameSocket(loop, std::move(socket), dropped, std::move(events)));
  FrameSocket* const raw = made.get();
  raw->buffer_.resize(kMaxMessage);
  VELLUM_TRY_ASSIGN_TO(raw->readable_, loop.watch(raw->socket_.get(), EventLoop::Direction::kRead,
                                                  [raw] { raw->on_readable(); }));
  VELLUM_TRY_ASSIGN_TO(raw->writable_, loop.watch(raw->socket_.get(), EventLoop::Direction::kWrite,
                                                  [raw] { raw->on_writable(); }));
  raw->resume();
  return made;
}

FrameSocket::~FrameSocket() {
  *alive_ = false;
}

void FrameSocket::announce(Offloads offloads) {
  if (announced_ == offloads) return;
  std::array<u32, 3> hello{kHello, kVersion, static_cast<u32>(offloads)};
  const iovec piece{hello.data(), sizeof hello};
  if (send({&piece, 1})) announced_ = offloads;
}

void FrameSocket::resume() {
  if (reading_ || failed_ || !events_.want_more()) return;
  reading_ = true;
  readable_->arm();
}

void FrameSocket::on_readable() {
  reading_ = false;
  for (int count = 0; count < kBatch && !failed_ && events_.want_more(); ++count) {
    const ssize_t got = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got <= 0) {  // hung up; nobody sends empty messages
      fail_soon();
      return;
    }
    if (static_cast<std::size_t>(got) > buffer_.size())
      dropped_.add();
    else
      on_message(std::span<const u8>(buffer_).first(static_cast<std::size_t>(got)));
  }
  resume();
}

void FrameSocket::on_message(std::span<const u8> message) {
  // GUEST-CONTROLLED: another VM's process, which its guest may have taken over.
  u32 kind = 0;
  if (!take_value(message, kind)) return dropped_.add();
  if (kind == kHello) {
    u32 version = 0, offloads = 0;
    if (!take_value(message, version) || !take_value(message, offloads) || version != kVersion)
      return dropped_.add();
    peer_ = static_cast<Offloads>(offloads & static_cast<u32>(kAllOffloads));
    return;
  }
  VnetHeader header;
  FrameOffload offload;
  if (kind != kFrame || !take_value(message, header)) return dropped_.add();
  if (!from_vnet_header(header, message.size(), offload)) return dropped_.add();
  const iovec piece{const_cast<u8*>(message.data()), message.size()};
  events_.frame({offload, {&piece, 1}});
}

void FrameSocket::take(const Frame& frame) {
  u32 kind = kFrame;
  VnetHeader header = to_vnet_header(frame.offload);
  pieces_.clear();
  pieces_.push_back({&kind, sizeof kind});
  pieces_.push_back({&header, sizeof header});
  pieces_.insert(pieces_.end(), frame.pieces.begin(), frame.pieces.end());
  if (!send(pieces_)) dropped_.add();
}

bool FrameSocket::send(std::span<const iovec> pieces) {
  if (failed_) return false;
  if (queue_.empty()) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg does not write to them
    message.msg_iovlen = pieces.size();
    if (::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
    const int error = errno;
    if (error == EPIPE || error == ECONNRESET) fail_soon();
    if (error != EAGAIN) return false;
  }
  const std::size_t size = frame_size(pieces);
  if (size > kMaxQueued - queued_) return false;  // as a switch does whose buffer is full
  std::vector<u8> copy(size);
  gather(pieces, copy);
  queue_.push_back(std::move(copy));
  queued_ += size;
  if (!std::exchange(writing_, true)) writable_->arm();
  return true;
}

void FrameSocket::on_writable() {
  writing_ = false;
  while (!queue_.empty() && !failed_) {
    const auto& message = queue_.front();
    if (::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN) {
        writing_ = true;
        writable_->arm();
        return;
      }
      const int error = errno;
      dropped_.add();
      if (error == EPIPE || error == ECONNRESET) fail_soon();
    }
    queued_ -= message.size();
    queue_.pop_front();
  }
}

void FrameSocket::fail_soon() {
  if (std::exchange(failed_, true)) return;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    const auto closed = std::move(events_.closed);  // it may destroy this, and with it what is in events_
    closed();
  });
}

}  // namespace vellum::net
