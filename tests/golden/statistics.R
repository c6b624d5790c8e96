# Makes proc_rows.tsv, proc_delong.tsv and r_tests.tsv. Run in this folder: Rscript statistics.R
# Made with R 4.2.2 and pROC 1.18.0.
suppressMessages(library(pROC))
digits <- function(x) ifelse(is.na(x), "", sprintf("%.15g", x))
write <- function(frame, name) {
  write.table(frame, name, sep = "\t", quote = FALSE, row.names = FALSE, na = "")
}

# 53 rows, 23 of class 1; rounded scores give ties within and across the classes
set.seed(53)
response <- rep(c(1, 0), c(23, 30))
shared <- rnorm(53)
one <- round(shared + 0.9 * response + rnorm(53, sd = 0.7), 1)
two <- round(shared + 0.4 * response + rnorm(53, sd = 0.7), 1)
three <- round(rnorm(53), 3)
write(data.frame(response, one, two, three), "proc_rows.tsv")

scores <- list(one = one, two = two, three = three)
curves <- lapply(scores, function(s) roc(response, s, direction = "<", quiet = TRUE))
rows <- NULL
for (name in names(curves)) {
  curve <- curves[[name]]
  limits <- ci.auc(curve, method = "delong")
  best <- max(curve$sensitivities + curve$specificities - 1)
  rows <- rbind(rows, data.frame(
    name, auc = digits(auc(curve)), se = digits(sqrt(var(curve, method = "delong"))),
    low = digits(limits[1]), high = digits(limits[3]), youden = digits(best), z = "", p = ""))
}
for (pair in list(c("one", "two"), c("one", "three"), c("two", "three"))) {
  test <- roc.test(curves[[pair[1]]], curves[[pair[2]]], method = "delong", paired = TRUE)
  rows <- rbind(rows, data.frame(
    name = paste(pair, collapse = "-"), auc = "", se = "", low = "", high = "", youden = "",
    z = digits(test$statistic), p = digits(test$p.value)))
}
write(rows, "proc_delong.tsv")

# counts are written row by row: "a,b;c,d"
text <- function(x) {
  if (!is.matrix(x)) return(paste(x, collapse = ","))
  paste(apply(x, 1, paste, collapse = ","), collapse = ";")
}
tests <- NULL
add <- function(test, first, second, statistic, p) {
  tests <<- rbind(tests, data.frame(test, first = text(first), second = text(second),
                                    statistic = digits(statistic), p = digits(p)))
}
tables <- list(
  matrix(c(6, 10, 24, 5, 16, 3, 11, 16, 5, 18), 2, byrow = TRUE),
  matrix(c(9, 30, 9, 13, 3, 28, 11, 11), 2, byrow = TRUE),
  matrix(c(23, 38, 23, 30), 2, byrow = TRUE),
  matrix(c(45, 16, 42, 11), 2, byrow = TRUE),
  matrix(c(3, 1, 0, 7), 2, byrow = TRUE),
  matrix(c(4, 0, 2, 1, 5, 3, 0, 2, 7), 3, byrow = TRUE),
  matrix(c(5, 2, 1, 0, 0, 3, 4, 2, 2, 0, 1, 6), 3, byrow = TRUE),
  matrix(c(2, 0, 1, 4, 1, 3, 0, 2, 0, 5, 1, 1, 3, 2, 0, 2), 4, byrow = TRUE))
for (x in tables) {
  add("fisher", x, "", NA, fisher.test(x, workspace = 2e7)$p.value)
  found <- suppressWarnings(chisq.test(x))
  add("chi-square", x, "", found$statistic, found$p.value)
}
samples <- list(
  list(c(0.45, 0.51, 0.38, 0.62, 0.44, 0.57), c(0.75, 0.69, 0.81, 0.58, 0.77, 0.66, 0.9)),
  list(c(1, 2, 2, 3, 5, 7), c(2, 4, 5, 5, 8, 9, 9)),
  list(round(rnorm(60), 2), round(rnorm(55, 0.4), 2)))
pairs <- list(
  list(c(65.5, 54, 61, 70.2, 48.8, 59.1), c(42.3, 14.4, 63.5, 55.1, 47.9, 40.2)),
  list(c(1, 2, 3, 4, 5, 6, 7, 8), c(2, 2, 1, 1, 3, 7, 4, 5)),
  list(round(rnorm(60), 2), round(rnorm(60, 0.3), 2)))
for (s in samples) {
  found <- suppressWarnings(wilcox.test(s[[1]], s[[2]]))
  add("rank-sum", s[[1]], s[[2]], found$statistic, found$p.value)
  found <- t.test(s[[1]], s[[2]])
  add("welch", s[[1]], s[[2]], found$statistic, found$p.value)
  value <- c(s[[1]], s[[2]])
  group <- factor(rep(1:2, c(length(s[[1]]), length(s[[2]]))))
  found <- oneway.test(value ~ group, var.equal = TRUE)
  add("anova", s[[1]], s[[2]], found$statistic, found$p.value)
}
for (s in pairs) {
  found <- suppressWarnings(wilcox.test(s[[1]], s[[2]], paired = TRUE))
  add("signed-rank", s[[1]], s[[2]], found$statistic, found$p.value)
}
for (k in list(c(21, 23), c(11, 30), c(0, 7), c(7, 7))) {
  found <- prop.test(k[1], k[2], correct = FALSE)$conf.int
  tests <- rbind(tests, data.frame(test = "wilson", first = k[1], second = k[2],
                                   statistic = digits(found[1]), p = digits(found[2])))
}
write(tests, "r_tests.tsv")
