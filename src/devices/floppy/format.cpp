#include "devices/floppy/format.hpp"

#include <algorithm>
#include <iterator>

namespace vellum::floppy {
namespace {

// Of the formats that PC DOS made. Disks of 720K are in a drive for 1.44M, as in most machines that can read
// one.
constexpr Format kFormats[] = {
    {u64{360} << 10, 40, 9, k250, 1},    {u64{720} << 10, 80, 9, k250, 4},
    {u64{1200} << 10, 80, 15, k500, 2},  {u64{1440} << 10, 80, 18, k500, 4},
    {u64{2880} << 10, 80, 36, k1000, 5},
};

}  // namespace

const Format* format_of(u64 size) {
  const auto* const found = std::ranges::find(kFormats, size, &Format::size);
  return found != std::end(kFormats) ? found : nullptr;
}

}  // namespace vellum::floppy
