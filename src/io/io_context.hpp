// Work of devices on the event loop.
//
// Under the real clock a vCPU leaves work behind and goes on. Under the virtual clock it waits until the work
// is done, and a device finishes what it began before that: what a guest sees then depends on nothing but the
// guest, and each run is the same (docs/design/virtio.md).
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "io/event_loop.hpp"

namespace vellum {

struct IoContext {
  EventLoop* loop = nullptr;
  /// The virtual clock runs: work is done before whoever asked for it goes on.
  bool synchronous = false;
};

/// Up to 64 kinds of work of one owner, each rung from any thread and done on the loop's. Ringing again what
/// has not been begun yet does nothing.
class Doorbells {
 public:
  /// `work` gets the number that was rung.
  Doorbells(const IoContext& context, std::function<void(unsigned)> work);
  /// On the loop's thread, or while no thread runs: what has not been begun is forgotten.
  ~Doorbells();
  Doorbells(const Doorbells&) = delete;
  Doorbells& operator=(const Doorbells&) = delete;

  /// Any thread, without locks that the work takes.
  void ring(unsigned number);

 private:
  struct Shared {
    std::atomic<u64> rung{0};
    std::function<void(unsigned)> work;
    bool alive = true;  // the loop's
  };
  static void answer(Shared& shared);

  const IoContext context_;
  std::shared_ptr<Shared> shared_;
};

/// What a device with work on the loop owes to whoever stops the machine. On the loop's thread, or while no
/// thread runs.
class Quiescable {
 public:
  virtual ~Quiescable() = default;
  /// Finishes what is under way; nothing new is begun by itself until resume().
  virtual void quiesce() = 0;
  /// After quiesce(), or once a restored board's RAM has its contents: looks for work.
  virtual void resume() = 0;
};

}  // namespace vellum
