# Makes survival_*.tsv. Run in this folder: Rscript survival.R
# The versions of R and of the packages are the first line of every file.
suppressMessages({
  library(survival)
  library(maxstat)
})
digits <- function(x) ifelse(is.na(x), "", sprintf("%.15g", x))
stamp <- sprintf("# R %s.%s, survival %s, maxstat %s, exactRankTests %s", R.version$major,
                 R.version$minor, packageVersion("survival"), packageVersion("maxstat"),
                 packageVersion("exactRankTests"))
write <- function(frame, name, note = "") {
  number <- sapply(frame, is.numeric)
  frame[number] <- lapply(frame[number], digits)
  writeLines(paste0(stamp, note), name)
  suppressWarnings(write.table(frame, name, append = TRUE, sep = "\t", quote = FALSE,
                               row.names = FALSE, na = ""))
}

# "tied": 80 subjects, times in whole months; "smooth": 200 subjects, times without ties
set.seed(11)
n <- 80
age <- round(rnorm(n, 62, 9))
marker <- round(rnorm(n), 2)
grade <- sample(c("high", "low", "moderate"), n, TRUE, c(0.25, 0.3, 0.45))
linear <- 0.03 * (age - 62) + 0.7 * marker + 0.6 * (grade == "high")
death <- -log(runif(n)) * 30 / exp(linear)
censor <- runif(n, 6, 70)
tied <- data.frame(data = "tied", months = pmax(1, ceiling(pmin(death, censor))),
                   event = as.integer(death <= censor), age, marker, grade)
set.seed(12)
n <- 200
age <- round(rnorm(n, 60, 11), 1)
marker <- round(rnorm(n), 3)
grade <- sample(c("high", "low", "moderate"), n, TRUE)
# the effect of the marker fades, so that the test of proportional hazards has something to see
death <- -log(runif(n)) * 40 / exp(0.04 * (age - 60) + 0.9 * marker - 0.8 * (grade == "low"))
death <- ifelse(death > 15, 15 + (death - 15) * exp(0.9 * marker), death)
censor <- rexp(n, 1 / 60)
smooth <- data.frame(data = "smooth", months = round(pmin(death, censor), 6) + 1e-6,
                     event = as.integer(death <= censor), age, marker, grade)
stopifnot(!anyDuplicated(smooth$months))
rows <- rbind(tied, smooth)
rows$group2 <- ifelse(rows$marker > 0.1, "high", "low")
rows$group4 <- paste0("g", 1 + (rows$age > 60) + 2 * (rows$marker > 0))
write(rows, "survival_rows.tsv")

cox <- model <- base <- zph <- resid <- lifted <- NULL
km <- point <- rank <- cut <- stats <- NULL
tight <- coxph.control(eps = 1e-14, iter.max = 50, toler.chol = 1e-15)
for (name in unique(rows$data)) {
  d <- rows[rows$data == name, ]
  d$grade <- factor(d$grade)
  for (ties in c("efron", "breslow")) {
    fit <- coxph(Surv(months, event) ~ age + marker + grade, d, ties = ties, control = tight)
    found <- summary(fit)
    cox <- rbind(cox, data.frame(
      data = name, ties, term = names(coef(fit)), coefficient = coef(fit),
      se = sqrt(diag(vcov(fit))), low95 = found$conf.int[, 3], high95 = found$conf.int[, 4],
      z = found$coefficients[, 4], p = found$coefficients[, 5]))
    model <- rbind(model, data.frame(
      data = name, ties, loglik_null = fit$loglik[1], loglik = fit$loglik[2],
      likelihood_ratio = found$logtest[1], wald = fit$wald.test, score = found$sctest[1],
      p_likelihood_ratio = found$logtest[3],
      # the p of each whole term, from drop1's likelihood-ratio test
      p_age = drop1(fit, test = "Chisq")["age", 4],
      p_marker = drop1(fit, test = "Chisq")["marker", 4],
      p_grade = drop1(fit, test = "Chisq")["grade", 4]))
    # numeric columns, so that the curve is at the mean of every column, indicators included
    x <- as.data.frame(model.matrix(fit))
    plain <- coxph(Surv(d$months, d$event) ~ ., x, ties = ties, control = tight)
    curve <- survfit(plain, newdata = as.data.frame(t(colMeans(x))))
    # without ties both are the same
    if (name == "tied" || ties == "efron") {
      base <- rbind(base, data.frame(data = name, ties, months = curve$time,
                                     hazard = curve$cumhaz))
    }
    for (terms in c(TRUE, FALSE)) {
      test <- cox.zph(fit, transform = "km", terms = terms)
      zph <- rbind(zph, data.frame(
        data = name, ties, by = ifelse(terms, "term", "column"), term = rownames(test$table),
        chi2 = test$table[, 1], df = test$table[, 2], p = test$table[, 3]))
    }
    if (name == "tied") {
      lifted <- rbind(lifted, data.frame(ties, months = test$time, x = test$x, unname(test$y)))
    }
  }
  for (type in c("log", "log-log", "plain")) {
    for (level in c(0.95, 0.9)) {
      fit <- survfit(Surv(months, event) ~ 1, d, conf.type = type, conf.int = level)
      if (level == 0.95 && name == "tied") {
        km <- rbind(km, data.frame(
          data = name, type, months = fit$time, at_risk = fit$n.risk, events = fit$n.event,
          censored = fit$n.censor, survival = fit$surv, se = fit$std.err * fit$surv,
          low = fit$lower, high = fit$upper))
      }
      at <- summary(fit, times = c(3, 12, 24, 36))
      middle <- quantile(fit, 0.5)
      point <- rbind(point, data.frame(
        data = name, type, level, months = c(at$time, NA), survival = c(at$surv, middle$quantile),
        low = c(at$lower, middle$lower), high = c(at$upper, middle$upper)))
    }
  }
  # late against early times: a p far below 1e-16
  d$strong <- rank(d$months) > nrow(d) / 2
  for (group in c("group2", "group4", "grade", "strong")) {
    test <- survdiff(Surv(d$months, d$event) ~ d[[group]])
    rank <- rbind(rank, data.frame(data = name, groups = group, chi2 = test$chisq,
                                   df = length(test$n) - 1, p = test$pvalue))
  }
  for (share in c(0.1, 0.25)) {
    test <- function(method) {
      maxstat.test(Surv(months, event) ~ marker, d, smethod = "LogRank", pmethod = method,
                   minprop = share, maxprop = 1 - share)
    }
    lau <- test("Lau92")
    cut <- rbind(cut, data.frame(data = name, share, statistic = lau$statistic,
                                 cutpoint = lau$estimate, p_lau92 = lau$p.value,
                                 p_lau94 = test("Lau94")$p.value, candidates = length(lau$stats)))
    if (share == 0.1) {
      stats <- rbind(stats, data.frame(data = name, cutpoint = lau$cuts, statistic = lau$stats))
    }
  }
}
write(cox, "survival_cox.tsv")
write(model, "survival_cox_model.tsv")
write(base, "survival_baseline.tsv")
write(zph, "survival_zph.tsv")
names(lifted)[-(1:3)] <- c("age", "marker", "gradelow", "grademoderate")
write(lifted, "survival_zph_residuals.tsv")
write(km, "survival_km.tsv")
write(point, "survival_km_points.tsv")
write(rank, "survival_logrank.tsv")
write(cut, "survival_maxstat.tsv")
write(stats, "survival_maxstat_curve.tsv")

# survivalROC is in no Debian package: SURVIVALROC names a file with its R function. Its symmetric
# window finds the lower neighbours with the upper side's distance, a slip corrected here.
if (nzchar(Sys.getenv("SURVIVALROC"))) {
  text <- readLines(Sys.getenv("SURVIVALROC"))
  eval(parse(text = sub("abs( ddd[ index1 ] )", "abs( ddd[ index2 ] )", text, fixed = TRUE)))
  roc <- points <- NULL
  for (name in unique(rows$data)) {
    d <- rows[rows$data == name, ]
    for (method in c("NNE", "KM")) {
      for (months in c(12, 36)) {
        for (span in c(0.25 * nrow(d)^-0.2, 0.3)) {
          if (method == "KM" && span == 0.3) next
          found <- survivalROC(d$months, d$event, d$marker, predict.time = months,
                               method = method, span = span)
          best <- which.max(found$TP - found$FP)
          roc <- rbind(roc, data.frame(
            data = name, method, months, span, auc = found$AUC,
            youden = max(found$TP - found$FP), above = found$cut.values[best]))
          if (name == "tied" && months == 12 && span < 0.3) {
            points <- rbind(points, data.frame(method, above = found$cut.values[-1],
                                               tp = found$TP[-1], fp = found$FP[-1]))
          }
        }
      }
    }
  }
  note <- ", survivalROC's symmetric NNE (one index corrected) and KM estimators"
  write(roc, "survival_roc.tsv", note)
  write(points, "survival_roc_points.tsv", note)
}
