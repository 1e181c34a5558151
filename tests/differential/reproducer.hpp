// A case as a text file: "key value" lines, values in hexadecimal.
#pragma once

#include <string>

#include "base/result.hpp"
#include "case.hpp"

namespace vellum::differential {

Result<> write_reproducer(const std::string& path, const Case& c);
Result<Case> read_reproducer(const std::string& path);

}  // namespace vellum::differential
