# Of C++ sources that are to be compiled as one, prints those that must stay alone: they give a name in their unnamed
# namespace that an earlier one has given in its own.
FNR == 1 { inside = 0 }
/^namespace \{$/ { inside = 1; next }
/^\}  \/\/ namespace$/ { inside = 0 }
inside && /^using [A-Za-z0-9_]+ = / {
  if (!($2 in alias)) alias[$2] = $0
  else if (alias[$2] != $0 && !(FILENAME in alone)) { alone[FILENAME]; print FILENAME }
}
inside && /^[A-Za-z]/ && !/^(using|namespace|template) / {
  text = $0
  if (text ~ /^(struct|class|enum) /) {
    sub(/^(struct|class|enum class|enum) /, "", text)
    sub(/[^A-Za-z0-9_].*/, "", text)
  } else {
    sub(/[(=[{;].*/, "", text)
    sub(/ *$/, "", text)
    sub(/.*[^A-Za-z0-9_]/, "", text)
  }
  if (text == "") next
  if (!(text in owner)) owner[text] = FILENAME
  else if (owner[text] != FILENAME && !(FILENAME in alone)) { alone[FILENAME]; print FILENAME }
}
