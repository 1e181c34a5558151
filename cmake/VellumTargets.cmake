# How every folder of the tree becomes a target: one static library per folder under src/, one test program per
# folder under tests/unit/. The DEPENDS of a library are the arrows of docs/architecture.md; link edges run
# downwards only, and tools/check-includes holds the #includes to the same drawing.

add_library(vellum_options INTERFACE)
target_compile_options(vellum_options INTERFACE -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -g1)
target_include_directories(vellum_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(vellum_options INTERFACE SPDLOG_FMT_EXTERNAL)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(vellum_options INTERFACE -O2)
endif()
if(VELLUM_SANITIZE)
  target_compile_options(vellum_options INTERFACE -fsanitize=${VELLUM_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(vellum_options INTERFACE -fsanitize=${VELLUM_SANITIZE})
  if(VELLUM_SANITIZE MATCHES "undefined")
    target_compile_options(vellum_options INTERFACE -fno-sanitize-recover=undefined)
  endif()
  if(VELLUM_SANITIZE MATCHES "thread")
    # ThreadSanitizer does not know fences. Asio's only repeat what the scheduler's mutex orders.
    target_compile_definitions(vellum_options INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 raises false -Wmaybe-uninitialized, -Wstringop-* and friends on instrumented code.
    target_compile_options(vellum_options INTERFACE -Wno-maybe-uninitialized -Wno-stringop-overflow
                           -Wno-stringop-overread -Wno-array-bounds)
  endif()
endif()

# vellum_library(NAME [DEPENDS library ...]): all .cpp files of this folder (not of folders below it).
function(vellum_library name)
  cmake_parse_arguments(arg "" "" "DEPENDS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(APPEND sources ${arg_SOURCES})
  if(sources)
    add_library(vellum_${name} STATIC ${sources})
    target_link_libraries(vellum_${name} PUBLIC vellum_options ${arg_DEPENDS})
  else()
    add_library(vellum_${name} INTERFACE)
    target_link_libraries(vellum_${name} INTERFACE vellum_options ${arg_DEPENDS})
  endif()
endfunction()

# vellum_unit_test(NAME DEPENDS library ...): all .cpp files of this folder as one GoogleTest program, one ctest
# entry a test program.
function(vellum_unit_test name)
  cmake_parse_arguments(arg "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE vellum_options ${arg_DEPENDS} GTest::gtest_main)
  # GoogleTest calls a program whose tests skipped passed; ctest then says so.
  add_test(NAME unit.${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/unit/run $<TARGET_FILE:test_${name}>)
  set_tests_properties(unit.${name} PROPERTIES TIMEOUT 300 LABELS unit SKIP_RETURN_CODE 77)
endfunction()
