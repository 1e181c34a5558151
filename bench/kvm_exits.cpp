// What an exit from KVM costs in our own instructions: the engine against the least loop that serves the same
// exits on the same bus, both over a kernel that answers at once. No time is measured and no guest runs;
// bench/kvm-exits counts the instructions.
//
//   bench-kvm-exits minimal|engine port|mmio EXITS
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "cpu/bare_board.hpp"
#include "cpu/kvm/engine.hpp"

namespace vellum {
namespace {

class Register final : public BusDevice {
 public:
  u64 read(u64, unsigned) override { return value_; }
  void write(u64, unsigned, u64 value) override { value_ = value; }

 private:
  u64 value_ = 0;
};

constexpr u16 kPort = 0x3f8;
constexpr u64 kMmio = 0xd0000000;
constexpr u64 kIoOffset = 4096;

/// Every entry ends with the same exit, `exits` of them, then with an error.
class ReadyKvm final : public kvm::KvmApi {
 public:
  ReadyKvm(bool mmio, u64 exits) : left_(exits) {
    kvm_run& run = *page();
    run.exit_reason = mmio ? KVM_EXIT_MMIO : KVM_EXIT_IO;
    if (mmio) {
      run.mmio.phys_addr = kMmio;
      run.mmio.len = 4;
      run.mmio.is_write = 1;
    } else {
      run.io.direction = KVM_EXIT_IO_OUT;
      run.io.size = run.io.count = 1;
      run.io.port = kPort;
      run.io.data_offset = kIoOffset;
    }
  }
  kvm_run* page() { return reinterpret_cast<kvm_run*>(page_.data()); }
  std::size_t page_size() const { return page_.size() * sizeof page_[0]; }

  int open() override { return 100; }
  void* map_run(int, std::size_t) override { return page_.data(); }
  void unmap_run(void*, std::size_t) override {}
  void close(int) override {}
  int call(int, unsigned long request, unsigned long argument) override {
    if (request == KVM_RUN) [[likely]]
      return left_-- > 0 ? 0 : -5;
    if (request == KVM_GET_API_VERSION) return KVM_API_VERSION;
    if (request == KVM_GET_VCPU_MMAP_SIZE) return static_cast<int>(page_size());
    if (request == kvm::kGetSupportedCpuid) std::memset(reinterpret_cast<void*>(argument), 0, sizeof(u32));
    return request == kvm::kGetMsrs ? 0 : 1;
  }

 private:
  std::vector<u64> page_ = std::vector<u64>(3 * 4096 / sizeof(u64));
  i64 left_;
};

/// What the text of the interface needs to serve these exits, and no more.
void minimal_loop(kvm::KvmApi& api, kvm_run& run, AddressSpace& space) {
  while (api.call(102, KVM_RUN, 0ul) == 0) {
    if (run.exit_reason == KVM_EXIT_IO) {
      const u8* data = reinterpret_cast<const u8*>(&run) + run.io.data_offset;
      u64 value = 0;
      std::memcpy(&value, data, run.io.size);
      space.ports.write(run.io.port, run.io.size, value);
    } else if (run.exit_reason == KVM_EXIT_MMIO) {
      u64 value = 0;
      std::memcpy(&value, run.mmio.data, run.mmio.len);
      space.mmio.write(run.mmio.phys_addr, run.mmio.len, value);
    } else {
      return;
    }
  }
}

int measure(bool engine_wanted, bool mmio_wanted, u64 exits) {
  ReadyKvm api(mmio_wanted, exits);
  auto ram = GuestRam::create(1 << 20);
  if (!ram) return 1;
  Register device;
  Bus mmio("mmio"), ports("port");
  if (!ports.add(kPort, 8, device, "register") || !mmio.add(kMmio, 0x1000, device, "register")) return 1;
  AddressSpace space{**ram, mmio, ports};
  if (!engine_wanted) {
    minimal_loop(api, *api.page(), space);
    return 0;
  }
  BareBoard board;
  RealClock clock;
  const auto model = x86::CpuModel::create("host");
  Hazards hazards;
  auto vm = kvm::Vm::create(api, **ram);
  if (!vm) return 1;
  auto engine = kvm::KvmEngine::create(**vm, 0, space, board, clock, *model, hazards);
  if (!engine) return 1;
  (*engine)->run(Budget{});
  return 0;
}

}  // namespace
}  // namespace vellum

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-kvm-exits minimal|engine port|mmio EXITS\n");
    return 2;
  }
  return vellum::measure(std::string(argv[1]) == "engine", std::string(argv[2]) == "mmio",
                         std::strtoull(argv[3], nullptr, 10));
}
