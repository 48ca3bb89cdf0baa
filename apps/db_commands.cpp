#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>

#include "apps/command.h"
#include "apps/store_records.h"
#include "results/exchange.h"
#include "results/runs.h"

namespace nas::apps {
namespace {

using Record = nlohmann::ordered_json;

struct DbOptions {
  std::string target, to = "csv", run;
  std::vector<std::string> others;
  bool skip_objects = false;
};

Result<int> show_info(const Context& context) {
  NAS_TRY(store, open_to_read(context));
  NAS_TRY(about, results::info(store));
  Record record{{"path", about.path.string()},
                {"format", about.version},
                {"bytes", about.bytes},
                {"objects", about.objects},
                {"object_bytes", about.object_bytes}};
  std::vector<Column> columns{{"path", "store"},
                              {"format", "format"},
                              {"bytes", "size", "bytes"},
                              {"objects", "objects"},
                              {"object_bytes", "  size", "bytes"}};
  for (const auto& [table, rows] : about.rows) {
    record[table] = rows;
    columns.push_back({table, "  " + table, "rows"});
  }
  print_record(context, columns, record);
  return 0;
}

Result<int> check_store(const Context& context, const DbOptions& options) {
  NAS_TRY(store, open_to_read(context));
  NAS_TRY(problems, results::check(store, !options.skip_objects));
  std::vector<Record> records;
  for (const std::string& problem : problems) records.push_back({{"problem", problem}});
  print_records(context, {{"problem", "problem"}}, records);
  if (problems.empty()) {
    if (!context.quiet) std::fprintf(stderr, "clean\n");
    return 0;
  }
  return Error{std::to_string(problems.size()) +
                   " problems found; keep the file, restore the newest backup, or save "
                   "what is readable with `hwnas db dump`",
               store.file().string(), ErrorKind::verification};
}

Result<int> back_up(const Context& context, const DbOptions& options) {
  NAS_TRY(store, open_to_read(context));
  NAS_CHECK(results::backup(store, options.target));
  return 0;
}

Result<int> migrate(const Context& context) {
  NAS_TRY(store, open_to_write(context));
  if (!context.quiet)
    std::fprintf(stderr, "%s\n",
                 store.backup().empty()
                     ? "the store has the current format already"
                     : ("migrated; the older store is kept as " + store.backup().string()).c_str());
  return 0;
}

Result<int> vacuum(const Context& context) {
  NAS_TRY(store, open_to_write(context));
  NAS_CHECK(results::vacuum(store));
  NAS_TRY(removed, results::remove_unused_objects(store));
  if (!context.quiet) std::fprintf(stderr, "%lld unused objects removed\n", static_cast<long long>(removed));
  return 0;
}

// Writes to the target, or to stdout where none is named.
Result<int> with_output(const std::string& target, const std::function<Result<void>(std::ostream&)>& write) {
  if (target.empty()) {
    NAS_CHECK(write(std::cout));
    std::cout.flush();
    return 0;
  }
  std::ofstream file(target, std::ios::binary);
  if (!file) return usage_error("cannot be created", target);
  NAS_CHECK(write(file));
  if (!file.flush()) return Error{"cannot be written: is the disk full?", target};
  return 0;
}

Result<int> dump(const Context& context, const DbOptions& options) {
  NAS_TRY(store, open_to_read(context));
  return with_output(options.target, [&](std::ostream& out) -> Result<void> {
    NAS_TRY(broken, results::dump(store, out));
    if (broken.empty()) return {};
    std::string names;
    for (const std::string& table : broken) names += " " + table;
    return Error{"damaged, written as far as it could be read:" + names, store.file().string(),
                 ErrorKind::verification};
  });
}

Result<int> merge(const Context& context, const DbOptions& options) {
  NAS_TRY(store, open_to_write(context));
  std::vector<Record> records;
  for (const std::string& other : options.others) {
    NAS_TRY(merged, results::merge(store, other));
    records.push_back({{"project", other},
                       {"runs", merged.runs},
                       {"candidates", merged.candidates},
                       {"evaluations", merged.evaluations},
                       {"kernel_times", merged.kernel_times},
                       {"objects", merged.objects}});
  }
  print_records(context,
                {{"project", "from"},
                 {"runs", "new runs"},
                 {"candidates", "candidates"},
                 {"evaluations", "evaluations"},
                 {"kernel_times", "kernel times"},
                 {"objects", "objects"}},
                records);
  return 0;
}

Result<int> export_to(const Context& context, const DbOptions& options) {
  NAS_TRY(store, open_to_read(context));
  std::optional<results::Id> run;
  if (!options.run.empty()) {
    NAS_TRY(found, results::find_run(store, options.run));
    run = found.id;
  }
  if (options.to == "csv" || options.to == "jsonl") {
    const auto format = options.to == "csv" ? results::TextFormat::csv : results::TextFormat::jsonl;
    return with_output(options.target, [&](std::ostream& out) -> Result<void> {
      NAS_CHECK(results::export_candidates(store, run, format, out));
      return {};
    });
  }
  if (options.target.empty())
    return usage_error("export to " + options.to + ": required -o PATH, found none");
  NAS_TRY(n, options.to == "optuna" ? results::export_optuna(store, run, options.target)
                                    : results::export_tensorboard(store, run, options.target));
  if (!context.quiet)
    std::fprintf(stderr, "%lld %s written to %s\n", static_cast<long long>(n),
                 options.to == "optuna" ? "trials" : "points", options.target.c_str());
  return 0;
}

}  // namespace

void add_db_commands(CLI::App& app, Context& context) {
  auto options = std::make_shared<DbOptions>();
  CLI::App* group =
      add_command(app, "db", "Look after the project's store",
                  {"hwnas db info", "hwnas db check", "hwnas db export --to optuna -o study.db"});
  group->require_subcommand(0, 1);
  const auto verb = [&](const char* name, const char* description, const std::vector<std::string>& examples,
                        Result<int> (*act)(const Context&, const DbOptions&)) {
    CLI::App* command = add_command(*group, name, description, examples);
    command->callback([&context, options, act] {
      context.action = [&context, options, act] { return act(context, *options); };
    });
    return command;
  };
  verb("info", "Size, format and rows", {"hwnas db info", "hwnas db info -f json"},
       [](const Context& c, const DbOptions&) { return show_info(c); });
  verb("check", "Is everything whole? Exit code 4 when not", {"hwnas db check"}, check_store)
      ->add_flag("--no-objects", options->skip_objects, "Leave out the hashes of objects");
  verb("backup", "A consistent copy, also while workers write", {"hwnas db backup hwnas.db.bak"}, back_up)
      ->add_option("target", options->target, "The copy; must not exist")
      ->required();
  verb("migrate", "Bring an older store to the current format, after a copy", {"hwnas db migrate"},
       [](const Context& c, const DbOptions&) { return migrate(c); });
  verb("vacuum", "Give unused space back and remove objects that nothing names", {"hwnas db vacuum"},
       [](const Context& c, const DbOptions&) { return vacuum(c); });
  CLI::App* dump_command =
      verb("dump", "Every row as a JSON object a line", {"hwnas db dump -o all.jsonl"}, dump);
  verb("merge", "Take over what other projects have and this one has not",
       {"hwnas db merge ../shard-1 ../shard-2"}, merge)
      ->add_option("projects", options->others, "The other project folders")
      ->required();
  CLI::App* export_command =
      verb("export", "Results in the form of other tools",
           {"hwnas db export --to csv -o all.csv", "hwnas db export --to tensorboard -o tb"}, export_to);
  export_command->add_option("--to", options->to, "csv, jsonl, optuna, tensorboard")
      ->check(CLI::IsMember({"csv", "jsonl", "optuna", "tensorboard"}));
  export_command->add_option("--run", options->run, "Of this run only");
  for (CLI::App* command : {dump_command, export_command})
    command->add_option("-o,--out", options->target, "File or folder; stdout where none is named");
}

}  // namespace nas::apps
