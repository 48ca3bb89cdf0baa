#include "supernet/tflite/tflite_model.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <flatbuffers/flatbuffers.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstring>

namespace nas::supernet {
namespace {

namespace fb = flatbuffers;
using Slot = fb::Offset<void>;

constexpr std::int32_t kMaxVersion = 3;

// How an operator's options are stored: number in the schema's union, and per field a byte 'b' or a word 'w'.
struct OptionForm {
  TfliteCode code;
  std::uint8_t number;
  std::string_view fields;
  std::size_t inputs;  // at least
};
constexpr OptionForm kForms[] = {
    {TfliteCode::add, 11, "b", 2},      {TfliteCode::average_pool, 5, "bwwwwb", 1},
    {TfliteCode::conv, 1, "bwwbww", 3}, {TfliteCode::depthwise_conv, 2, "bwwwbww", 3},
    {TfliteCode::logistic, 0, "", 1},   {TfliteCode::max_pool, 5, "bwwwwb", 1},
    {TfliteCode::mul, 21, "b", 2},      {TfliteCode::relu, 0, "", 1},
    {TfliteCode::relu6, 0, "", 1},      {TfliteCode::reshape, 0, "", 2},
    {TfliteCode::pad, 0, "", 2},        {TfliteCode::pad_v2, 0, "", 3},
    {TfliteCode::hard_swish, 0, "", 1},
};

const OptionForm* form_of(TfliteCode code) {
  const auto* it =
      std::find_if(std::begin(kForms), std::end(kForms), [&](const OptionForm& f) { return f.code == code; });
  return it == std::end(kForms) ? nullptr : it;
}

constexpr fb::voffset_t field(int id) { return static_cast<fb::voffset_t>(4 + 2 * id); }

class Writer {
 public:
  std::string write(const TfliteModel& model) {
    const std::vector<std::uint32_t> buffer_of = buffers(model);
    std::vector<Slot> tensors;
    for (std::size_t i = 0; i < model.tensors.size(); ++i)
      tensors.push_back(tensor(model.tensors[i], buffer_of[i]));
    std::vector<std::pair<TfliteCode, std::int32_t>> codes;
    std::vector<Slot> ops;
    for (const TfliteOp& op : model.ops) ops.push_back(operation(op, codes));
    const std::vector<Slot> graphs{graph(model, tensors, ops)};
    std::vector<Slot> code_tables;
    for (const auto& [code, version] : codes) code_tables.push_back(operator_code(code, version));
    const auto code_list = b_.CreateVector(code_tables), graph_list = b_.CreateVector(graphs),
               buffer_list = b_.CreateVector(buffers_), entry_list = b_.CreateVector(entries_);
    const auto description = b_.CreateString(model.description);
    const auto start = b_.StartTable();
    b_.AddElement<std::uint32_t>(field(0), 3, 0);
    b_.AddOffset(field(1), code_list);
    b_.AddOffset(field(2), graph_list);
    b_.AddOffset(field(3), description);
    b_.AddOffset(field(4), buffer_list);
    if (!entries_.empty()) b_.AddOffset(field(6), entry_list);
    b_.Finish(Slot(b_.EndTable(start)), "TFL3");
    return {reinterpret_cast<const char*>(b_.GetBufferPointer()), b_.GetSize()};
  }

 private:
  std::uint32_t buffer(std::string_view data) {
    b_.ForceVectorAlignment(data.size(), 1, 16);
    const auto bytes = b_.CreateVector(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
    const auto start = b_.StartTable();
    b_.AddOffset(field(0), bytes);
    buffers_.emplace_back(b_.EndTable(start));
    return static_cast<std::uint32_t>(buffers_.size() - 1);
  }

  // Buffer 0 is the empty one that computed tensors name. Metadata lies in buffers too.
  std::vector<std::uint32_t> buffers(const TfliteModel& model) {
    buffers_.emplace_back(b_.EndTable(b_.StartTable()));
    std::vector<std::uint32_t> found;
    for (const TfliteTensor& t : model.tensors) found.push_back(t.data.empty() ? 0 : buffer(t.data));
    for (const auto& [name, content] : model.metadata) {
      const std::uint32_t at = buffer(content);
      const auto text = b_.CreateString(name);
      const auto start = b_.StartTable();
      b_.AddOffset(field(0), text);
      b_.AddElement<std::uint32_t>(field(1), at, 0);
      entries_.emplace_back(b_.EndTable(start));
    }
    return found;
  }

  Slot tensor(const TfliteTensor& t, std::uint32_t at) {
    Slot grid(0);
    if (!t.scales.empty()) {
      const auto scales = b_.CreateVector(t.scales);
      const auto zeros = b_.CreateVector(t.zeros);
      const auto start = b_.StartTable();
      b_.AddOffset(field(2), scales);
      b_.AddOffset(field(3), zeros);
      b_.AddElement<std::int32_t>(field(6), t.axis, 0);
      grid = Slot(b_.EndTable(start));
    }
    const auto shape = b_.CreateVector(t.shape);
    const auto name = b_.CreateString(t.name);
    const auto start = b_.StartTable();
    b_.AddOffset(field(0), shape);
    b_.AddElement<std::int8_t>(field(1), static_cast<std::int8_t>(t.type), 0);
    b_.AddElement<std::uint32_t>(field(2), at, 0);
    b_.AddOffset(field(3), name);
    if (!t.scales.empty()) b_.AddOffset(field(4), grid);
    return Slot(b_.EndTable(start));
  }

  Slot operation(const TfliteOp& op, std::vector<std::pair<TfliteCode, std::int32_t>>& codes) {
    const std::pair wanted{op.code, op.version};
    const auto known = std::find(codes.begin(), codes.end(), wanted);
    const auto index = static_cast<std::uint32_t>(known - codes.begin());
    if (known == codes.end()) codes.push_back(wanted);
    const OptionForm& form = *form_of(op.code);
    Slot options(0);
    if (form.number != 0) {
      const auto start = b_.StartTable();
      // Words first: the table then needs no padding between its fields.
      for (const char width : {'w', 'b'})
        for (std::size_t i = 0; i < form.fields.size(); ++i) {
          if (form.fields[i] != width) continue;
          if (width == 'w')
            b_.AddElement<std::int32_t>(field(static_cast<int>(i)), op.options[i], 0);
          else
            b_.AddElement<std::int8_t>(field(static_cast<int>(i)), static_cast<std::int8_t>(op.options[i]),
                                       0);
        }
      options = Slot(b_.EndTable(start));
    }
    const auto inputs = b_.CreateVector(op.inputs), outputs = b_.CreateVector(op.outputs);
    const auto start = b_.StartTable();
    b_.AddElement<std::uint32_t>(field(0), index, 0);
    b_.AddOffset(field(1), inputs);
    b_.AddOffset(field(2), outputs);
    b_.AddElement<std::uint8_t>(field(3), form.number, 0);
    if (form.number != 0) b_.AddOffset(field(4), options);
    return Slot(b_.EndTable(start));
  }

  Slot operator_code(TfliteCode code, std::int32_t version) {
    const auto number = static_cast<std::int32_t>(code);
    const auto start = b_.StartTable();
    b_.AddElement<std::int8_t>(field(0), static_cast<std::int8_t>(std::min(number, 127)), 0);
    b_.AddElement<std::int32_t>(field(2), version, 1);
    b_.AddElement<std::int32_t>(field(3), number, 0);
    return Slot(b_.EndTable(start));
  }

  Slot graph(const TfliteModel& model, const std::vector<Slot>& tensors, const std::vector<Slot>& ops) {
    const auto tensor_list = b_.CreateVector(tensors), op_list = b_.CreateVector(ops);
    const auto inputs = b_.CreateVector(model.inputs), outputs = b_.CreateVector(model.outputs);
    const auto name = b_.CreateString("main");
    const auto start = b_.StartTable();
    b_.AddOffset(field(0), tensor_list);
    b_.AddOffset(field(1), inputs);
    b_.AddOffset(field(2), outputs);
    b_.AddOffset(field(3), op_list);
    b_.AddOffset(field(4), name);
    return Slot(b_.EndTable(start));
  }

  fb::FlatBufferBuilder b_{1 << 16};
  std::vector<Slot> buffers_, entries_;
};

// Where a table lies; every access is checked against the file, and the first one outside is remembered.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  bool good() const { return good_; }

  template <class T>
  T number(std::uint64_t at) {
    T value{};
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T))
      good_ = false;
    else
      std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  std::uint64_t follow(std::uint64_t at) { return at + number<std::uint32_t>(at); }

  // Place of a table's field; 0 when it is absent.
  std::uint64_t place(std::uint64_t table, int id) {
    const std::int64_t vtable = static_cast<std::int64_t>(table) - number<std::int32_t>(table);
    if (!good_ || vtable < 0) return fail();
    const auto at = static_cast<std::uint64_t>(vtable);
    if (field(id) + 2 > number<std::uint16_t>(at)) return 0;
    const auto offset = number<std::uint16_t>(at + field(id));
    return offset == 0 ? 0 : table + offset;
  }
  template <class T>
  T scalar(std::uint64_t table, int id, T fallback) {
    const std::uint64_t at = place(table, id);
    return at == 0 ? fallback : number<T>(at);
  }
  // Elements of a vector field, checked to lie inside the file.
  template <class T>
  std::vector<T> list(std::uint64_t table, int id) {
    std::vector<T> values;
    const auto [first, count] = span(table, id, sizeof(T));
    for (std::uint64_t i = 0; i < count && good_; ++i) values.push_back(number<T>(first + i * sizeof(T)));
    return values;
  }
  std::string text(std::uint64_t table, int id) {
    const auto [first, count] = span(table, id, 1);
    return good_ && count > 0 ? std::string(bytes_.substr(first, count)) : std::string();
  }
  std::vector<std::uint64_t> tables(std::uint64_t table, int id) {
    std::vector<std::uint64_t> found;
    const auto [first, count] = span(table, id, 4);
    for (std::uint64_t i = 0; i < count && good_; ++i) found.push_back(follow(first + 4 * i));
    return found;
  }
  std::uint64_t child(std::uint64_t table, int id) {
    const std::uint64_t at = place(table, id);
    return at == 0 ? 0 : follow(at);
  }

 private:
  std::uint64_t fail() {
    good_ = false;
    return 0;
  }
  std::pair<std::uint64_t, std::uint64_t> span(std::uint64_t table, int id, std::uint64_t size) {
    const std::uint64_t at = place(table, id);
    if (at == 0 || !good_) return {0, 0};
    const std::uint64_t list_at = follow(at), count = number<std::uint32_t>(list_at);
    if (!good_ || count * size > bytes_.size() - list_at) {
      good_ = false;
      return {0, 0};
    }
    return {list_at + 4, count};
  }

  std::string_view bytes_;
  bool good_ = true;
};

class Reader {
 public:
  Reader(std::string_view bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  Result<TfliteModel> read() {
    if (bytes_.number<std::uint32_t>(4) != 0x334C4654) return wrong("the identifier is not TFL3");
    const std::uint64_t root = bytes_.follow(0);
    if (bytes_.scalar<std::uint32_t>(root, 0, 0) != 3) return wrong("schema version must be 3");
    TfliteModel model;
    model.description = bytes_.text(root, 3);
    std::vector<std::string> data;
    for (const std::uint64_t b : bytes_.tables(root, 4)) data.push_back(bytes_.text(b, 0));
    for (const std::uint64_t entry : bytes_.tables(root, 6)) {
      const auto at = bytes_.scalar<std::uint32_t>(entry, 1, 0);
      if (at >= data.size()) return wrong("metadata names no buffer");
      model.metadata[bytes_.text(entry, 0)] = data[at];
    }
    const auto graphs = bytes_.tables(root, 2);
    if (!bytes_.good() || graphs.size() != 1) return wrong("needs one graph");
    for (const std::uint64_t t : bytes_.tables(graphs[0], 0)) NAS_CHECK(tensor(t, data, model));
    model.inputs = bytes_.list<std::int32_t>(graphs[0], 1);
    model.outputs = bytes_.list<std::int32_t>(graphs[0], 2);
    const auto codes = bytes_.tables(root, 1);
    for (const std::uint64_t op : bytes_.tables(graphs[0], 3)) NAS_CHECK(operation(op, codes, model));
    if (!bytes_.good()) return wrong("an offset leads outside the file");
    NAS_CHECK(check_graph(model));
    return model;
  }

 private:
  Error wrong(const std::string& what) const { return usage_error("TFLite: " + what, where_); }

  Result<void> tensor(std::uint64_t table, const std::vector<std::string>& data, TfliteModel& model) {
    TfliteTensor t;
    t.name = bytes_.text(table, 3);
    t.shape = bytes_.list<std::int32_t>(table, 0);
    t.type = static_cast<TfliteType>(bytes_.scalar<std::int8_t>(table, 1, 0));
    const auto at = bytes_.scalar<std::uint32_t>(table, 2, 0);
    if (!bytes_.good() || at >= data.size()) return wrong("tensor \"" + t.name + "\" names no buffer");
    t.data = data[at];
    if (const std::uint64_t grid = bytes_.child(table, 4); grid != 0) {
      t.scales = bytes_.list<float>(grid, 2);
      t.zeros = bytes_.list<std::int64_t>(grid, 3);
      t.axis = bytes_.scalar<std::int32_t>(grid, 6, 0);
    }
    NAS_CHECK(check_tensor(t));
    model.tensors.push_back(std::move(t));
    return {};
  }

  Result<void> check_tensor(const TfliteTensor& t) const {
    const auto bad = [&](const std::string& what) { return wrong("tensor \"" + t.name + "\": " + what); };
    const bool known =
        t.type == TfliteType::float32 || t.type == TfliteType::int32 || t.type == TfliteType::int8;
    if (!known)
      return bad("type " + std::to_string(static_cast<int>(t.type)) + " is none of float32, int32, int8");
    std::int64_t bytes = t.type == TfliteType::int8 ? 1 : 4;
    for (const std::int32_t side : t.shape) {
      if (side < 1 || bytes > (std::int64_t{1} << 32) / side) return bad("an impossible shape");
      bytes *= side;
    }
    if (t.shape.size() > 4) return bad("more than four sides");
    if (!t.data.empty() && static_cast<std::int64_t>(t.data.size()) != bytes)
      return bad("its shape says " + std::to_string(bytes) + " bytes, found " +
                 std::to_string(t.data.size()));
    if (t.scales.size() != t.zeros.size()) return bad("scales and zero points differ in number");
    for (const float s : t.scales)
      if (!(s > 0 && s < 1e30F)) return bad("a scale is not positive");
    if (t.scales.size() > 1) {
      const bool inside = t.axis >= 0 && static_cast<std::size_t>(t.axis) < t.shape.size();
      if (!inside || static_cast<std::size_t>(t.shape[static_cast<std::size_t>(t.axis)]) != t.scales.size())
        return bad("scales are not one a channel");
    }
    return {};
  }

  Result<void> operation(std::uint64_t table, const std::vector<std::uint64_t>& codes, TfliteModel& model) {
    const auto index = bytes_.scalar<std::uint32_t>(table, 0, 0);
    if (!bytes_.good() || index >= codes.size()) return wrong("an operator names no code");
    TfliteOp op;
    const auto old = bytes_.scalar<std::int8_t>(codes[index], 0, 0);
    op.code =
        static_cast<TfliteCode>(std::max<std::int32_t>(old, bytes_.scalar<std::int32_t>(codes[index], 3, 0)));
    op.version = bytes_.scalar<std::int32_t>(codes[index], 2, 1);
    op.inputs = bytes_.list<std::int32_t>(table, 1);
    op.outputs = bytes_.list<std::int32_t>(table, 2);
    const OptionForm* form = form_of(op.code);
    const std::string name = "operator " + std::to_string(model.ops.size());
    if (form == nullptr || op.version < 1 || op.version > kMaxVersion)
      return wrong(name + ": code " + std::to_string(static_cast<int>(op.code)) + " version " +
                   std::to_string(op.version) + " is not one of ours");
    if (op.inputs.size() < form->inputs || op.inputs.size() > 3 || op.outputs.size() != 1)
      return wrong(name + ": inputs or outputs are too few or too many");
    const std::uint64_t options = bytes_.child(table, 4);
    if (form->number != 0 && (options == 0 || bytes_.scalar<std::uint8_t>(table, 3, 0) != form->number))
      return wrong(name + ": no options");
    for (std::size_t i = 0; i < form->fields.size(); ++i)
      op.options.push_back(form->fields[i] == 'w'
                               ? bytes_.scalar<std::int32_t>(options, static_cast<int>(i), 0)
                               : bytes_.scalar<std::int8_t>(options, static_cast<int>(i), 0));
    if (!bytes_.good()) return wrong(name + ": an offset leads outside the file");
    model.ops.push_back(std::move(op));
    return {};
  }

  // Every tensor that is read exists by then; nothing is computed twice.
  Result<void> check_graph(const TfliteModel& model) const {
    std::vector<bool> there;
    for (const TfliteTensor& t : model.tensors) there.push_back(!t.data.empty());
    const auto inside = [&](std::int32_t t) { return t >= 0 && static_cast<std::size_t>(t) < there.size(); };
    for (const std::int32_t t : model.inputs) {
      if (!inside(t) || there[static_cast<std::size_t>(t)]) return wrong("an input is no tensor of its own");
      there[static_cast<std::size_t>(t)] = true;
    }
    for (std::size_t i = 0; i < model.ops.size(); ++i) {
      for (const std::int32_t t : model.ops[i].inputs)
        if (!inside(t) || !there[static_cast<std::size_t>(t)])
          return wrong("operator " + std::to_string(i) + " reads a tensor that nobody has computed");
      const std::int32_t out = model.ops[i].outputs[0];
      if (!inside(out) || there[static_cast<std::size_t>(out)])
        return wrong("operator " + std::to_string(i) + " writes a tensor that is there already");
      there[static_cast<std::size_t>(out)] = true;
    }
    for (const std::int32_t t : model.outputs)
      if (!inside(t) || !there[static_cast<std::size_t>(t)]) return wrong("an output is never computed");
    if (model.inputs.size() != 1 || model.outputs.empty()) return wrong("needs one input and an output");
    return {};
  }

  Bytes bytes_;
  std::string where_;
};

}  // namespace

std::string to_bytes(const TfliteModel& model) { return Writer().write(model); }

Result<TfliteModel> tflite_from_bytes(std::string_view bytes, const std::string& where) {
  return Reader(bytes, where).read();
}

}  // namespace nas::supernet
