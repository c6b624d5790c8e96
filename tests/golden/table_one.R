# Makes table_one_rows.tsv and table_one_tests.tsv. Run in this folder: Rscript table_one.R
# Made with R 4.2.2 (packages stats and MASS 7.3.58).
set.seed(2012)
n <- 90
centre <- sample(c("east", "north", "west"), n, replace = TRUE, prob = c(0.5, 0.2, 0.3))
sex <- sample(c("female", "male"), n, replace = TRUE)
age <- round(rnorm(n, 62, 10) + 4 * (centre == "east"), 1)
size <- round(exp(rnorm(n, 3, 0.7 + 0.3 * (sex == "male"))), 1)
stage <- sample(c("I", "II", "III", "IV"), n, replace = TRUE, prob = c(0.1, 0.4, 0.35, 0.15))
marker <- sample(c("no", "yes"), n, replace = TRUE, prob = c(0.95, 0.05))
grade <- sample(1:3, n, replace = TRUE)
rows <- data.frame(centre, sex, age, size, stage, marker, grade)
rows$age[c(3, 40)] <- NA
rows$stage[c(7, 8, 60)] <- NA
rows$marker[11] <- NA
write.table(rows, "table_one_rows.tsv", sep = "\t", quote = FALSE, row.names = FALSE, na = "")

# standardised differences: absolute, mean over the pairs of groups
pairs_of <- function(group, measure) {
  found <- combn(sort(unique(group)), 2, function(g) measure(g[1], g[2]))
  mean(found)
}
smd_mean <- function(x, group) pairs_of(group, function(a, b) {
  u <- x[group == a & !is.na(x)]
  v <- x[group == b & !is.na(x)]
  abs(mean(u) - mean(v)) / sqrt((var(u) + var(v)) / 2)
})
smd_counts <- function(x, group) pairs_of(group, function(a, b) {
  share <- function(g) as.vector(prop.table(table(factor(x)[group == g])))[-1]
  p <- share(a)
  q <- share(b)
  cover <- function(p) diag(p, length(p)) - p %o% p
  d <- p - q
  sqrt(drop(t(d) %*% MASS::ginv((cover(p) + cover(q)) / 2) %*% d))
})
out <- NULL
add <- function(group, variable, test, p, smd) {
  out <<- rbind(out, data.frame(group, variable, test, p = sprintf("%.15g", p),
                                smd = sprintf("%.15g", smd)))
}
for (by in c("sex", "centre")) {
  g <- rows[[by]]
  two <- length(unique(g)) == 2
  for (v in c("age", "size")) {
    x <- rows[[v]]
    smd <- smd_mean(x, g)
    add(by, v, "equal", oneway.test(x ~ g, var.equal = TRUE)$p.value, smd)
    add(by, v, "welch", oneway.test(x ~ g)$p.value, smd)
    rank <- if (two) suppressWarnings(wilcox.test(x ~ g)) else kruskal.test(x ~ g)
    add(by, v, "ranks", rank$p.value, smd)
  }
  for (v in c("stage", "marker")) {
    counts <- table(rows[[v]], g)
    smd <- smd_counts(rows[[v]], g)
    add(by, v, "chi-square", suppressWarnings(chisq.test(counts))$p.value, smd)
    add(by, v, "fisher", fisher.test(counts, workspace = 2e7)$p.value, smd)
  }
  rank <- if (two) suppressWarnings(wilcox.test(rows$grade ~ g)) else kruskal.test(rows$grade ~ g)
  add(by, "grade", "ranks", rank$p.value, smd_counts(rows$grade, g))
}
write.table(out, "table_one_tests.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
