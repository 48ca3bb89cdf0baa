#include "supernet/recipe.h"

#include <gtest/gtest.h>

namespace nas::supernet {
namespace {

TEST(Recipes, EveryBuiltInOneIsReadable) {
  const auto names = builtin_recipe_names();
  EXPECT_GE(names.size(), 8U);
  for (const std::string& name : names) {
    const auto recipe = load_recipe(name);
    ASSERT_TRUE(recipe) << recipe.error().message;
    EXPECT_EQ(recipe->name, name);
  }
}

TEST(Recipes, ProgressiveShrinkingHasItsPhasesInOrder) {
  const auto recipe = load_recipe("progressive");
  ASSERT_TRUE(recipe);
  ASSERT_EQ(recipe->phases.size(), 6U);
  EXPECT_EQ(recipe->phases[1].choices.at("d"), 1);
  EXPECT_FALSE(recipe->phases[1].choices.contains("k"));
  EXPECT_EQ(recipe->phases[4].sort_channels, Sorting::l1);
  EXPECT_EQ(recipe->phases[5].distillation.teacher, Teacher::frozen);
}

TEST(Recipes, MistakesNameTheirPlace) {
  const auto message = [](const std::string& phase) {
    const auto r =
        parse_recipe("{\"name\": \"x\",\n \"phases\": [{\"name\": \"p\", " + phase + "}]}", "r.json");
    return r ? std::string() : to_string(r.error());
  };
  EXPECT_NE(message("\"samplng\": \"uniform\"").find("sampling"), std::string::npos);
  EXPECT_NE(message("\"samplng\": \"uniform\"").find("r.json:2:"), std::string::npos);
  EXPECT_NE(message("\"sampling\": \"sandwich\", \"paths\": 1").find("at least 2"), std::string::npos);
  EXPECT_NE(message("\"distillation\": {\"teacher\": \"in_place\"}").find("sandwich"), std::string::npos);
  EXPECT_NE(message("\"optimizer\": {\"learning_rate\": -1}"), "");
  EXPECT_EQ(message("\"epochs\": 2"), "");
}

TEST(Recipes, AnUnknownNameSuggestsTheNearest) {
  const auto recipe = load_recipe("sandwhich");
  ASSERT_FALSE(recipe);
  EXPECT_NE(recipe.error().message.find("did you mean sandwich?"), std::string::npos)
      << recipe.error().message;
}

}  // namespace
}  // namespace nas::supernet
