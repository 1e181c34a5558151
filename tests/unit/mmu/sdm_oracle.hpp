// Whether the SDM permits an access: its rules as a table, written from vol. 3A §4.6.1 and §4.7 and knowing
// nothing of the walker. A rule names only what the manual's sentence names.
#pragma once

#include <optional>
#include <vector>

#include "base/int.hpp"

namespace vellum::test {

/// One access, and all that the SDM says it depends on.
struct Question {
  bool user_mode = false;  ///< a user-mode access (CPL 3 and not implicit)
  bool implicit = false;   ///< an implicit supervisor-mode access
  char kind = 'r';         ///< 'r', 'w' or 'x'
  bool wp = false, smep = false, smap = false, ac = false;
  bool xd_exists = false;  ///< not 32-bit paging
  bool nxe = false;

  struct Entry {
    bool present, writable, user, xd;
  };
  std::vector<Entry> entries;  ///< those that control the translation, topmost first
};

/// The page fault's error code, or nullopt if the access is permitted.
std::optional<u32> sdm_verdict(const Question& question);

/// How many rules speak of an access whose entries are all present and valid: 1 if the table is sound.
unsigned rules_that_apply(const Question& question);

}  // namespace vellum::test
