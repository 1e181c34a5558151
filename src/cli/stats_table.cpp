#include "cli/stats_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vellum::cli {
namespace {

// 1234567 -> 1,234,567
std::string grouped(u64 number) {
  const std::string digits = std::to_string(number);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string time_text(u64 ns) {
  if (ns >= 1'000'000'000) return fmt::format("{:.3f} s", static_cast<double>(ns) * 1e-9);
  if (ns >= 1'000'000) return fmt::format("{:.3f} ms", static_cast<double>(ns) * 1e-6);
  return fmt::format("{:.3f} us", static_cast<double>(ns) * 1e-3);
}

}  // namespace

std::string stats_table(const std::vector<StatRow>& rows) {
  std::vector<StatRow> sums;
  std::vector<std::string> groups;
  for (const StatRow& row : rows) {
    if (row.count == 0 && row.ns == 0) continue;
    if (std::ranges::find(groups, row.group) == groups.end()) groups.push_back(row.group);
    const auto same = std::ranges::find_if(
        sums, [&](const StatRow& sum) { return sum.group == row.group && sum.name == row.name; });
    if (same == sums.end()) {
      sums.push_back(row);
    } else {
      same->count += row.count;
      same->ns += row.ns;
    }
  }
  std::string text;
  for (const std::string& group : groups) {
    text += fmt::format("--- {}\n", group);
    for (const StatRow& row : sums) {
      if (row.group != group) continue;
      text += fmt::format("  {:<38} {:>18}", row.name, grouped(row.count));
      if (row.ns != 0) text += fmt::format(" {:>14}", time_text(row.ns));
      text += '\n';
    }
  }
  return text;
}

}  // namespace vellum::cli
