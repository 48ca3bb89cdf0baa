# hwnas_embed(TARGET NAMESPACE::function FILES...): compiles text files into TARGET. The function, declared by the
# caller as `std::span<const EmbeddedFile> function();` (space/base/embedded.h), lists them by file name.
function(hwnas_embed target function)
  set(entries "")
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} text)
    get_filename_component(name ${file} NAME)
    string(APPEND entries "    {\"${name}\", R\"hwnas(${text})hwnas\"},\n")
  endforeach()
  string(REGEX REPLACE "::[^:]*$" "" namespace ${function})
  string(REGEX REPLACE "^.*::" "" plain ${function})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${target}_${plain}.cpp)
  file(CONFIGURE OUTPUT ${out} CONTENT
"#include \"space/base/embedded.h\"

namespace @namespace@ {
namespace {
constexpr ::nas::EmbeddedFile kFiles[] = {
@entries@};
}  // namespace
std::span<const ::nas::EmbeddedFile> @plain@();
std::span<const ::nas::EmbeddedFile> @plain@() { return kFiles; }
}  // namespace @namespace@
" @ONLY)
  target_sources(${target} PRIVATE ${out})
endfunction()
