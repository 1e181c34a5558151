#include "io/io_context.hpp"

#include <bit>

#include "base/bits.hpp"

namespace vellum {

Doorbells::Doorbells(const IoContext& context, std::function<void(unsigned)> work)
    : context_(context), shared_(std::make_shared<Shared>()) {
  shared_->work = std::move(work);
}

Doorbells::~Doorbells() {
  shared_->alive = false;
}

void Doorbells::answer(Shared& shared) {
  if (!shared.alive) return;
  for (u64 rung = shared.rung.exchange(0, std::memory_order_seq_cst); rung != 0; rung &= rung - 1)
    shared.work(static_cast<unsigned>(std::countr_zero(rung)));
}

void Doorbells::ring(unsigned number) {
  const u64 before = shared_->rung.fetch_or(bit(number), std::memory_order_seq_cst);
  if (context_.synchronous) {
    context_.loop->run_on_loop([&] { answer(*shared_); });
  } else if (before == 0) {
    context_.loop->post([shared = shared_] { answer(*shared); });
  }
}

}  // namespace vellum
