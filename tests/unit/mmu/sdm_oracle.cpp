#include "sdm_oracle.hpp"

#include <array>

namespace vellum::test {
namespace {

enum Tri : signed char { kNo = 0, kYes = 1, kAny = -1 };

// SDM vol. 3A §4.6.1, "Determination of Access Rights". The last column is the verdict.
struct Rule {
  char mode;        // 's' supervisor-mode access, 'u' user-mode access
  char kind;        // 'r' data read, 'w' data write, 'x' instruction fetch
  char address;     // 's' supervisor-mode address (U/S = 0 in at least one entry), 'u' user-mode address
  Tri wp, smap;     // CR0.WP, CR4.SMAP
  Tri explicit_ac;  // EFLAGS.AC = 1 and the access is explicit
  Tri smep;         // CR4.SMEP
  Tri nx_counts;    // not 32-bit paging, and IA32_EFER.NXE = 1
  Tri writable;     // R/W = 1 in every entry that controls the translation
  Tri xd;           // XD = 1 in at least one of them
  bool allowed;
};

// clang-format off
constexpr std::array kRules{
    // mode kind addr   WP    SMAP  AC    SMEP  NX    R/W   XD
    // For supervisor-mode accesses: data may be read from any supervisor-mode address.
    Rule{'s', 'r', 's', kAny, kAny, kAny, kAny, kAny, kAny, kAny, true},
    // Data reads from user-mode pages: as CR4.SMAP says.
    Rule{'s', 'r', 'u', kAny, kNo,  kAny, kAny, kAny, kAny, kAny, true},
    Rule{'s', 'r', 'u', kAny, kYes, kYes, kAny, kAny, kAny, kAny, true},
    Rule{'s', 'r', 'u', kAny, kYes, kNo,  kAny, kAny, kAny, kAny, false},
    // Data writes to supervisor-mode addresses: as CR0.WP says.
    Rule{'s', 'w', 's', kNo,  kAny, kAny, kAny, kAny, kAny, kAny, true},
    Rule{'s', 'w', 's', kYes, kAny, kAny, kAny, kAny, kYes, kAny, true},
    Rule{'s', 'w', 's', kYes, kAny, kAny, kAny, kAny, kNo,  kAny, false},
    // Data writes to user-mode addresses: as CR0.WP and CR4.SMAP say.
    Rule{'s', 'w', 'u', kNo,  kNo,  kAny, kAny, kAny, kAny, kAny, true},
    Rule{'s', 'w', 'u', kNo,  kYes, kYes, kAny, kAny, kAny, kAny, true},
    Rule{'s', 'w', 'u', kNo,  kYes, kNo,  kAny, kAny, kAny, kAny, false},
    Rule{'s', 'w', 'u', kYes, kNo,  kAny, kAny, kAny, kYes, kAny, true},
    Rule{'s', 'w', 'u', kYes, kNo,  kAny, kAny, kAny, kNo,  kAny, false},
    Rule{'s', 'w', 'u', kYes, kYes, kYes, kAny, kAny, kYes, kAny, true},
    Rule{'s', 'w', 'u', kYes, kYes, kYes, kAny, kAny, kNo,  kAny, false},
    Rule{'s', 'w', 'u', kYes, kYes, kNo,  kAny, kAny, kAny, kAny, false},
    // Instruction fetches from supervisor-mode addresses.
    Rule{'s', 'x', 's', kAny, kAny, kAny, kAny, kNo,  kAny, kAny, true},
    Rule{'s', 'x', 's', kAny, kAny, kAny, kAny, kYes, kAny, kNo,  true},
    Rule{'s', 'x', 's', kAny, kAny, kAny, kAny, kYes, kAny, kYes, false},
    // Instruction fetches from user-mode addresses: as CR4.SMEP says.
    Rule{'s', 'x', 'u', kAny, kAny, kAny, kNo,  kNo,  kAny, kAny, true},
    Rule{'s', 'x', 'u', kAny, kAny, kAny, kNo,  kYes, kAny, kNo,  true},
    Rule{'s', 'x', 'u', kAny, kAny, kAny, kNo,  kYes, kAny, kYes, false},
    Rule{'s', 'x', 'u', kAny, kAny, kAny, kYes, kAny, kAny, kAny, false},
    // For user-mode accesses: data reads, data writes, instruction fetches.
    Rule{'u', 'r', 'u', kAny, kAny, kAny, kAny, kAny, kAny, kAny, true},
    Rule{'u', 'r', 's', kAny, kAny, kAny, kAny, kAny, kAny, kAny, false},
    Rule{'u', 'w', 'u', kAny, kAny, kAny, kAny, kAny, kYes, kAny, true},
    Rule{'u', 'w', 'u', kAny, kAny, kAny, kAny, kAny, kNo,  kAny, false},
    Rule{'u', 'w', 's', kAny, kAny, kAny, kAny, kAny, kAny, kAny, false},
    Rule{'u', 'x', 'u', kAny, kAny, kAny, kAny, kNo,  kAny, kAny, true},
    Rule{'u', 'x', 'u', kAny, kAny, kAny, kAny, kYes, kAny, kNo,  true},
    Rule{'u', 'x', 'u', kAny, kAny, kAny, kAny, kYes, kAny, kYes, false},
    Rule{'u', 'x', 's', kAny, kAny, kAny, kAny, kAny, kAny, kAny, false},
};
// clang-format on

constexpr bool fits(Tri wanted, bool actual) {
  return wanted == kAny || (wanted == kYes) == actual;
}

bool applies(const Rule& rule, const Question& q) {
  bool every_user = true, every_writable = true, some_xd = false;
  for (const Question::Entry& e : q.entries) {
    every_user = every_user && e.user;
    every_writable = every_writable && e.writable;
    some_xd = some_xd || e.xd;
  }
  return rule.mode == (q.user_mode ? 'u' : 's') && rule.kind == q.kind &&
         rule.address == (every_user ? 'u' : 's') && fits(rule.wp, q.wp) && fits(rule.smap, q.smap) &&
         fits(rule.explicit_ac, q.ac && !q.implicit) && fits(rule.smep, q.smep) &&
         fits(rule.nx_counts, q.xd_exists && q.nxe) && fits(rule.writable, every_writable) &&
         fits(rule.xd, some_xd);
}

}  // namespace

unsigned rules_that_apply(const Question& question) {
  unsigned count = 0;
  for (const Rule& rule : kRules) count += applies(rule, question) ? 1 : 0;
  return count;
}

std::optional<u32> sdm_verdict(const Question& q) {
  // §4.7, figure 4-12: W/R, U/S, and I/D where fetches can be told apart.
  u32 code = 0;
  if (q.kind == 'w') code |= 2;
  if (q.user_mode) code |= 4;
  if (q.kind == 'x' && (q.smep || (q.xd_exists && q.nxe))) code |= 16;
  // There is no translation if an entry on the way is not present or has a reserved bit set; XD is reserved
  // while IA32_EFER.NXE = 0 (tables 4-9 ff., 4-15 ff.).
  for (const Question::Entry& e : q.entries) {
    if (!e.present) return code;
    if (e.xd && q.xd_exists && !q.nxe) return code | 1 | 8;
  }
  for (const Rule& rule : kRules) {
    if (applies(rule, q)) return rule.allowed ? std::nullopt : std::optional<u32>(code | 1);
  }
  return std::nullopt;
}

}  // namespace vellum::test
