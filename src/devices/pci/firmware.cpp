#include "devices/pci/firmware.hpp"

#include <algorithm>

#include "devices/pci/piix.hpp"

namespace vellum::pci {
namespace {

struct Request {
  Function* function;
  Function::BarInfo info;
};

// Takes `size` bytes, aligned to their size, from [next, end).
std::optional<u64> take(u64& next, u64 end, u64 size) {
  const u64 start = align_up(next, size);
  if (start < next || start > end || size > end - start) return std::nullopt;
  next = start + size;
  return start;
}

}  // namespace

Result<> assign_resources(Bus& bus, const Windows& windows) {
  std::vector<Request> requests;
  for (unsigned devfn = 0; devfn < 256; ++devfn) {
    Function* function = bus.at(static_cast<u8>(devfn));
    if (function == nullptr) continue;
    for (const auto& info : function->bars()) requests.push_back({function, info});
    const u32 pin = function->read_config(kInterruptPin, 1);
    if (pin != 0) function->write_config(kInterruptLine, 1, kPirqIrqs[pirq_of(devfn >> 3, pin)]);
  }
  // The largest first: nothing is lost to alignment.
  std::ranges::stable_sort(requests, std::greater<>(), [](const Request& r) { return r.info.bar.size; });
  u64 memory = windows.memory_start, high = windows.high_start, ports = windows.ports_start;
  for (const auto& [function, info] : requests) {
    const auto& [bar, index] = info;
    std::optional<u64> start;
    if (bar.kind == BarKind::kIo) start = take(ports, windows.ports_end, bar.size);
    if (bar.kind == BarKind::kMemory64Prefetchable) start = take(high, windows.high_end, bar.size);
    if (!start && bar.kind != BarKind::kIo) start = take(memory, windows.memory_end, bar.size);
    if (!start)
      return fail(ErrorCode::kInvalidArgument,
                  "{}: no room for {} KiB of PCI address space; use fewer devices", function->name(),
                  (bar.size + 1023) >> 10);
    function->write_config(kBar0 + 4 * index, 4, static_cast<u32>(*start));
    if (bar.kind == BarKind::kMemory64 || bar.kind == BarKind::kMemory64Prefetchable)
      function->write_config(kBar0 + 4 * index + 4, 4, static_cast<u32>(*start >> 32));
    const u32 command = function->read_config(kCommand, 2);
    function->write_config(kCommand, 2, command | (bar.kind == BarKind::kIo ? kIoEnable : kMemoryEnable));
  }
  if (Function* bridge = bus.at(devfn(Piix3::kDevice, 0)))
    for (unsigned pirq = 0; pirq < 4; ++pirq)
      bridge->write_config(Piix3::kPirqControl + pirq, 1, kPirqIrqs[pirq]);
  return {};
}

}  // namespace vellum::pci
