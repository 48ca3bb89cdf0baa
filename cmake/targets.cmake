# hwnas_options: what every target of ours is compiled with.
add_library(hwnas_options INTERFACE)
target_include_directories(hwnas_options INTERFACE ${PROJECT_SOURCE_DIR})
# GCC 12 reports false overlaps in std::string concatenation (bug 105651) and false bounds in vector comparison.
target_compile_options(hwnas_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-restrict
  -Wno-stringop-overread)
if(HWNAS_WERROR AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)  # later ones warn, wrongly, of nlohmann/json
  target_compile_options(hwnas_options INTERFACE -Werror)
endif()
if(CMAKE_UNITY_BUILD)
  target_compile_options(hwnas_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)  # takes sources for headers
endif()
if(HWNAS_NATIVE)
  target_compile_options(hwnas_options INTERFACE -march=native)
endif()
if(HWNAS_SANITIZE)
  target_compile_options(hwnas_options INTERFACE -fsanitize=${HWNAS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(HWNAS_SANITIZE MATCHES undefined)
    # Checks of every single access: they triple the compile time, and AddressSanitizer ends at a null access anyway.
    target_compile_options(hwnas_options INTERFACE -fno-sanitize=null,alignment)
  endif()
  if(HWNAS_SANITIZE STREQUAL thread)
    target_include_directories(hwnas_options BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/tests/tsan)  # its README says why
  endif()
  target_link_options(hwnas_options INTERFACE -fsanitize=${HWNAS_SANITIZE})
endif()
if(HWNAS_COVERAGE)
  target_compile_options(hwnas_options INTERFACE --coverage)
  target_link_options(hwnas_options INTERFACE --coverage)
endif()

# The sanitizer presets compile several sources as one (unity builds: a third of the processor time). Sources of the
# target that would clash stay alone.
function(hwnas_keep_apart target)
  get_target_property(all ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  set(sources "")
  foreach(source ${all})
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${folder})
    if(source MATCHES "\\.cpp$" AND EXISTS ${source})
      list(APPEND sources ${source})
    endif()
  endforeach()
  execute_process(COMMAND awk -f ${PROJECT_SOURCE_DIR}/cmake/alone.awk ${sources}
    OUTPUT_VARIABLE alone COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" alone "${alone}")
  if(alone)
    set_source_files_properties(${alone} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endfunction()
# When all sources are known: folders add to the targets of others.
function(hwnas_keep_apart_later target)
  if(CMAKE_UNITY_BUILD)
    cmake_language(EVAL CODE "cmake_language(DEFER DIRECTORY [[${PROJECT_SOURCE_DIR}]] CALL hwnas_keep_apart ${target})")
  endif()
endfunction()

# hwnas_library(NAME SOURCES ... DEPENDS ...): one static library of the house.
function(hwnas_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  hwnas_keep_apart_later(${name})
  target_link_libraries(${name} PUBLIC hwnas_options ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
endfunction()

# hwnas_test(NAME SOURCES ... DEPENDS ... LABELS ...): one GoogleTest program, one ctest entry.
function(hwnas_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  hwnas_keep_apart_later(${name})
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
