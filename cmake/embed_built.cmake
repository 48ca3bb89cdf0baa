# cmake -DOUT=file.cpp -DFUNCTION=namespace::function -DFILES=a;b -P embed_built.cmake: like hwnas_embed()
# (embed.cmake), for files that the build makes.
string(REGEX REPLACE "::[^:]*$" "" namespace ${FUNCTION})
string(REGEX REPLACE "^.*::" "" plain ${FUNCTION})
set(arrays "")
set(entries "")
set(index 0)
foreach(file ${FILES})
  file(READ ${file} text)
  string(FIND "${text}" ")hwnas\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${file} contains the end mark of the embedding")
  endif()
  get_filename_component(name ${file} NAME)
  # Arrays know their size: a string_view of a literal would count it at compile time, beyond the compiler's limits.
  string(APPEND arrays "constexpr char kText${index}[] = R\"hwnas(${text})hwnas\";\n")
  string(APPEND entries "    {\"${name}\", {kText${index}, sizeof kText${index} - 1}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "#include <span>

#include \"space/base/embedded.h\"

namespace ${namespace} {
namespace {
${arrays}constexpr ::nas::EmbeddedFile kFiles[] = {
${entries}};
}  // namespace
std::span<const ::nas::EmbeddedFile> ${plain}();
std::span<const ::nas::EmbeddedFile> ${plain}() { return kFiles; }
}  // namespace ${namespace}
")
