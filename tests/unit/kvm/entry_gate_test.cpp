#include "cpu/kvm/entry_gate.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace vellum::kvm {
namespace {

// A vCPU that enters again and again, with an engine's protocol, and a flag in place of the guest.
TEST(EntryGate, NobodyIsInTheGuestWhileItIsClosed) {
  kvm_run run{};
  VcpuKicker vcpu(run);
  EntryGate gate;
  gate.add(vcpu);
  std::atomic<bool> inside{false}, end{false};
  std::atomic<u64> entries{0};
  std::thread thread([&] {
    while (!end) {
      vcpu.enter();
      if (gate.closed()) {
        vcpu.leave();
        gate.wait();
        continue;
      }
      inside = true;
      ++entries;
      while (__atomic_load_n(&run.immediate_exit, __ATOMIC_SEQ_CST) == 0 && !end) std::this_thread::yield();
      inside = false;
      vcpu.leave();
    }
  });

  unsigned met = 0;
  for (u64 n = 0; n < 200; ++n) {
    while (entries.load() <= n) std::this_thread::yield();
    met += gate.while_closed([&] { return inside.load() ? 1u : 0u; });
  }
  end = true;
  thread.join();
  gate.remove(vcpu);

  EXPECT_EQ(met, 0u);
}

}  // namespace
}  // namespace vellum::kvm
