# hwnas_options: what every target of ours is compiled with.
add_library(hwnas_options INTERFACE)
target_include_directories(hwnas_options INTERFACE ${PROJECT_SOURCE_DIR})
# GCC 12 reports false overlaps in std::string concatenation (bug 105651) and false bounds in vector comparison.
target_compile_options(hwnas_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-restrict
  -Wno-stringop-overread)
if(HWNAS_WERROR)
  target_compile_options(hwnas_options INTERFACE -Werror)
endif()
if(HWNAS_NATIVE)
  target_compile_options(hwnas_options INTERFACE -march=native)
endif()
if(HWNAS_SANITIZE)
  target_compile_options(hwnas_options INTERFACE -fsanitize=${HWNAS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(hwnas_options INTERFACE -fsanitize=${HWNAS_SANITIZE})
endif()
if(HWNAS_COVERAGE)
  target_compile_options(hwnas_options INTERFACE --coverage)
  target_link_options(hwnas_options INTERFACE --coverage)
endif()

# hwnas_library(NAME SOURCES ... DEPENDS ...): one static library of the house.
function(hwnas_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC hwnas_options ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
endfunction()

# hwnas_test(NAME SOURCES ... DEPENDS ... LABELS ...): one GoogleTest program, one ctest entry.
function(hwnas_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE hwnas_options ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE HWNAS_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "OMP_WAIT_POLICY=passive")
endfunction()

# hwnas_program_test(NAME ...): a test that runs the program itself, at HWNAS_PROGRAM.
function(hwnas_program_test name)
  hwnas_test(${name} ${ARGN})
  target_compile_definitions(${name} PRIVATE HWNAS_PROGRAM="$<TARGET_FILE:hwnas>")
  add_dependencies(${name} hwnas)
  if(HWNAS_TORCH)
    add_dependencies(${name} hwnas-torch)
  endif()
endfunction()

# hwnas_benchmark(NAME SOURCES ... DEPENDS ...): one Google Benchmark program.
function(hwnas_benchmark name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE hwnas_options ${ARG_DEPENDS} benchmark::benchmark_main)
endfunction()
