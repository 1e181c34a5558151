# cmake -DINPUT=file -DOUTPUT=file.cpp -DNAME=dsdt_pc_bytes -P embed_bytes.cmake: a binary file as a C++ array, read through
# vellum::NAME().
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"boot/acpi_tables.hpp\"\n
namespace vellum {\n
std::span<const u8> ${NAME}() {
  static constexpr u8 kBytes[] = {${bytes}};
  return kBytes;
}\n
}  // namespace vellum\n")
